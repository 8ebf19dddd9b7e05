"""A network for weights that are stored as float16, and what it is to equal then."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sparsec.storage import LEAST_ELEMENTS


def pruned_layers(tokens: int = 32) -> onnx.ModelProto:
    """y = relu(x @ w1) @ w2: x [tokens, 24], w1 [24, 131] with nine of ten weights zero anywhere, w2 [131, 37]."""
    random = np.random.default_rng(0)
    w1, w2 = (random.standard_normal(shape).astype(np.float32) for shape in ((24, 131), (131, 37)))
    w1[random.random(w1.shape) < 0.9] = 0
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("MatMul", ["b", "w2"], ["y"], name="second"),
    ]
    x, y = ("x", [tokens, 24]), ("y", [tokens, 37])
    described = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (x, y)]
    constants = [numpy_helper.from_array(w1, "w1"), numpy_helper.from_array(w2, "w2")]
    graph = helper.make_graph(nodes, "pruned", described[:1], described[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its long weights rounded to float16."""
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.size >= LEAST_ELEMENTS:
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16).astype(np.float32), tensor.name))
    return model
