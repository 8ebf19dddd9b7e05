"""The products of whole numbers in a quantised network, as a network of their own.

In transformers only they have to give equal numbers everywhere: what stands between them is rounded by each processor in
its own way, now and then to the next of 256 steps.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

ROUNDED = 1e-2  # how far outputs of such a network may be apart, relative to the largest


def products(model: onnx.ModelProto) -> onnx.ModelProto:
    """All products of bytes in `model`, each with an input and an output of its own: x of its shape, and its sums."""
    shapes = {each.name: each for each in onnx.shape_inference.infer_shapes(model).graph.value_info}
    weights = {each.name: each for each in model.graph.initializer}
    nodes, inputs, outputs, used = [], [], [], dict[str, TensorProto]()
    for number, node in enumerate(each for each in model.graph.node if each.op_type == "MatMulInteger"):
        x, *constants = node.input
        used |= {name: weights[name] for name in constants}
        depth, wide = weights[constants[0]].dims
        before = [
            axis.dim_value or 1 for axis in shapes[x].type.tensor_type.shape.dim[:-1]
        ]  # only a batch is not known
        nodes.append(helper.make_node(node.op_type, [f"x{number}", *constants], [f"y{number}"], name=node.name))
        inputs.append(helper.make_tensor_value_info(f"x{number}", TensorProto.UINT8, [*before, depth]))
        outputs.append(helper.make_tensor_value_info(f"y{number}", TensorProto.INT32, [*before, wide]))
    graph = helper.make_graph(nodes, "products", inputs, outputs, list(used.values()))
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
