"""The products of a quantised network."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

import sparsec
from bench.products import products


def test_products_are_a_network_of_their_own() -> None:
    """Every MatMulInteger of a model keeps its weight, and gets an input and an output."""
    weights = [np.ones((4, 6), np.int8), np.ones((6, 2), np.int8)]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("MatMulInteger", ["q", "w0", "zero"], ["a"], name="first"),
        helper.make_node("Cast", ["a"], ["b"], to=onnx.TensorProto.UINT8),
        helper.make_node("MatMulInteger", ["b", "w1", "zero"], ["y"], name="second"),
    ]
    constants = {"scale": np.float32(1), "zero": np.uint8(3), "w0": weights[0], "w1": weights[1]}
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [5, 4])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.INT32, [5, 2])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    found = products(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    onnx.checker.check_model(found)
    assert [node.name for node in found.graph.node] == ["first", "second"]
    assert {each.name for each in found.graph.initializer} == {"zero", "w0", "w1"}
    feeds = {"x0": np.full((5, 4), 4, np.uint8), "x1": np.full((5, 6), 5, np.uint8)}
    sums = sparsec.compile(found).run(feeds)
    np.testing.assert_array_equal(sums["y0"], np.full((5, 6), 4))
    np.testing.assert_array_equal(sums["y1"], np.full((5, 2), 12))
