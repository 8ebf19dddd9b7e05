"""A quantisation of what was moved: codes are made before they are moved, by the layer if there is one."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import sparsec
from sparsec.explain import explain
from sparsec.reference import OnnxRuntime


def test_a_layer_makes_the_codes_that_are_moved_then() -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal((32, 64)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["p"]),
            helper.make_node("Add", ["p", "b"], ["s"]),
            helper.make_node("Reshape", ["s", "shape"], ["r"]),
            helper.make_node("Transpose", ["r"], ["t"], perm=[1, 2, 0]),
            helper.make_node("QuantizeLinear", ["t", "scale", "zero"], ["y"]),
        ],
        "heads",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [16, 32])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [4, 16, 16])],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(random.standard_normal(64).astype(np.float32), "b"),
            numpy_helper.from_array(np.array([16, 4, 16]), "shape"),
            numpy_helper.from_array(np.float32(0.1), "scale"),
            numpy_helper.from_array(np.uint8(128), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    compiled = sparsec.compile(model, target="x86-64-v3")
    x = random.standard_normal((16, 32)).astype(np.float32)
    bias = numpy_helper.to_array(graph.initializer[1])
    exact = (x.astype(np.float64) @ weight + bias).reshape(16, 4, 16).transpose(1, 2, 0)
    steps = np.clip(exact / np.float32(0.1) + 128, 0, 255)
    found = np.asarray(compiled(x), np.float64)
    assert np.abs(found - steps).max() <= 0.5 + 1e-3, "codes are rounded once"
    (layer,) = [row for row in explain(compiled) if row.layer is not None]
    assert layer.layer is not None
    assert len(explain(compiled)) == 2, "the layer, and one loop that moves bytes"


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("zero", [0, 7])
def test_codes_are_padded_and_convolutions_pad_themselves(value: float, zero: int) -> None:
    random = np.random.default_rng(1)
    weights = random.integers(-9, 10, (6, 4, 3, 3)).astype(np.int8)
    constants = {
        "pads": np.array([0, 0, 1, 0, 0, 0, 1, 2]),
        "value": np.float32(value),
        "x_scale": np.float32(0.05),
        "x_zero": np.uint8(zero),
        "w": weights,
        "w_scale": np.float32(0.25),
        "w_zero": np.int8(0),
        "y_scale": np.float32(0.5),
        "y_zero": np.uint8(128),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Pad", ["x", "pads", "value"], ["p"]),
            helper.make_node("QuantizeLinear", ["p", "x_scale", "x_zero"], ["q"]),
            helper.make_node(
                "QLinearConv", ["q", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero"], ["y"]
            ),
        ],
        "padded",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 9, 8])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [1, 6, 9, 8])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    x = random.uniform(-1, 8, (1, 4, 9, 8)).astype(np.float32)
    compiled = sparsec.compile(model)
    (expected,) = OnnxRuntime(model, exact=True).run({"x": x})
    np.testing.assert_array_equal(np.asarray(compiled(x)), expected)
    others = [row.name for row in explain(compiled) if row.layer is None]
    assert any("Pad" in name for name in others) == (value != 0), others
