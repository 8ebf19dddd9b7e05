"""Each rewrite keeps the meaning of the graph: the reference evaluator gives the same before and after."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from sparsec.frontends.onnx import prepare
from sparsec.frontends.onnx_fold import infer_and_fold
from sparsec.frontends.onnx_graph import OnnxGraph
from sparsec.frontends.onnx_rewrite import expand

RNG = np.random.default_rng(1)


def build(op, shapes, constants, opset=17, outputs=("y",), **attributes):
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    names = [*shapes, *constants]
    node = helper.make_node(op, names, list(outputs), name="it", **attributes)
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph([node], "g", inputs, [onnx.ValueInfoProto(name=name) for name in outputs], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def complete(graph: OnnxGraph) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), n) for n, v in graph.constants.items())
    return model


def same(model: onnx.ModelProto, graph: OnnxGraph, feeds) -> None:
    expected = ReferenceEvaluator(model).run(None, feeds)
    got = ReferenceEvaluator(complete(graph)).run(None, feeds)
    for a, b in zip(expected, got, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)


def channels(count):
    return RNG.random(count).astype(np.float32) + 0.5


CASES = {
    "LayerNormalization": ({"x": [2, 3, 8]}, {"s": channels(8), "b": channels(8)}, {"axis": -1}),
    "InstanceNormalization": ({"x": [2, 3, 4, 5]}, {"s": channels(3), "b": channels(3)}, {}),
    "BatchNormalization": (
        {"x": [2, 3, 4, 5]},
        {"s": channels(3), "b": channels(3), "m": channels(3), "v": channels(3)},
        {"epsilon": 1e-3},
    ),
    "MaxPool": ({"x": [1, 2, 7, 6]}, {}, {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "Conv": (
        {"x": [1, 2, 7, 6]},
        {"w": RNG.standard_normal((3, 2, 3, 3)).astype(np.float32)},
        {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
    ),
    "Pow": ({"x": [3, 4]}, {"e": np.array(2, np.float32)}, {}),
    "Dropout": ({"x": [3, 4]}, {}, {}),
    "Reciprocal": ({"x": [3, 4]}, {}, {}),
}


@pytest.mark.parametrize("op", CASES)
def test_a_rewrite_keeps_the_meaning(op):
    shapes, constants, attributes = CASES[op]
    model = build(op, shapes, constants, **attributes)
    graph, _ = prepare(model)
    if op not in ("Conv", "MaxPool"):  # these keep their operator, and lose `auto_pad`
        assert op not in {node.op_type for node in graph.graph.node}, "the rewrite did not happen"
    same(model, graph, {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()})


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2, 2], "pads": [1, 0, 0, 1], "output_padding": [1, 0]},
        {"strides": [2, 3], "dilations": [1, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [1, 2], "output_shape": [5, 9]},
    ],
)
@pytest.mark.parametrize("group", [1, 2, 4])
def test_transposed_convolution(group, attributes):
    weight = RNG.standard_normal((4, 3, 3, 2)).astype(np.float32)
    model = build("ConvTranspose", {"x": [1, 4, 5, 4]}, {"w": weight}, group=group, **attributes)
    graph, _ = prepare(model)
    assert ("Conv" in {node.op_type for node in graph.graph.node}) == (group > 1)
    feeds = {"x": RNG.standard_normal((1, 4, 5, 4)).astype(np.float32)}
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)
    got = onnxruntime.InferenceSession(complete(graph).SerializeToString()).run(None, feeds)
    np.testing.assert_allclose(got[0], expected[0], rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("left", [[4], [2, 3, 4]])
def test_matmul_of_a_vector(left):
    right = [2, 4, 3] if left == [4] else [4]
    model = build("MatMul", {"a": left, "b": right}, {})
    graph, _ = prepare(model)
    feeds = {"a": RNG.standard_normal(left).astype(np.float32), "b": RNG.standard_normal(right).astype(np.float32)}
    same(model, graph, feeds)


@pytest.mark.parametrize(
    ("place", "rounding"), [("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("asymmetric", "ceil")]
)
def test_nearest_resize(place, rounding):
    scales = np.array([1, 1, 2, 3], np.float32)
    node = helper.make_node(
        "Resize", ["x", "", "s"], ["y"], mode="nearest", coordinate_transformation_mode=place, nearest_mode=rounding
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 3, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 6, 12])],
        [numpy_helper.from_array(scales, "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    prepared, _ = prepare(model)
    assert ("Gather" in {n.op_type for n in prepared.graph.node}) == (rounding == "ceil")
    same(model, prepared, {"x": RNG.standard_normal((1, 2, 3, 4)).astype(np.float32)})


def test_an_onnx_function_is_expanded():
    model = build("MeanVarianceNormalization", {"x": [1, 2, 3, 4]}, {}, axes=[0, 2, 3])
    graph, _ = prepare(model)
    assert expand(graph, "MeanVarianceNormalization")
    infer_and_fold(graph)
    assert "MeanVarianceNormalization" not in {node.op_type for node in graph.graph.node}
    same(model, graph, {"x": RNG.standard_normal((1, 2, 3, 4)).astype(np.float32)})
