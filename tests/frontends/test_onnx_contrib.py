"""Quantised operators of ONNX Runtime that are more than arithmetic on codes, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

import sparsec
from tests.quantised_models import Array, model, reference, run

TOKENS = np.array([[1, 4, 2, 0, 0], [3, 3, 9, 1, 6]], np.int32)
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
NAMES = ["words", "places", "segments", "gamma", "beta"]


def attention_constants(random: np.random.Generator, signed: bool, per_channel: bool) -> dict[str, Array]:
    """For x [.., 16] and four heads."""
    shape, zero = ((48,), 0 if signed else 128) if per_channel else ((), 0 if signed else 128)
    dtype = np.int8 if signed else np.uint8
    return {
        "w": (random.integers(-60, 60, (16, 48)) + zero).astype(dtype),
        "b": random.standard_normal(48).astype(np.float32),
        "sw": random.uniform(0.01, 0.02, shape).astype(np.float32),
        "zw": np.full(shape, zero, dtype),
    }


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("signed", "per_channel"), [(True, False), (True, True), (False, True)])
def test_attention(signed: bool, per_channel: bool, masked: bool) -> None:
    random = np.random.default_rng(0)
    feeds: dict[str, Array] = {"x": random.integers(0, 256, (2, 5, 16)).astype(np.uint8)}
    constants = {**attention_constants(random, signed, per_channel), "s": np.float32(0.03), "z": np.uint8(5)}
    feeds |= {"m": MASK} if masked else {}
    operands = ["x", "w", "b", "s", "sw", "m" if masked else "", "z", "zw"]
    node = helper.make_node("QAttention", operands, ["y"], domain="com.microsoft", num_heads=4)
    proto = model([node], constants, feeds, {"y": "float32"}, contrib=True)
    (found,), compiled = run(proto, feeds)
    np.testing.assert_allclose(found, reference(proto, feeds)[0], rtol=1e-4, atol=1e-4)
    assert {layer.choice.split("_")[0] for layer in compiled.report.layers if layer.op == "linear"} == {"u8s8"}


@pytest.mark.parametrize("opset", [14, 17])
def test_embeddings_and_attention_of_lengths(opset: int) -> None:
    """What ONNX Runtime's quantiser makes of BERT that its optimiser has fused."""
    random = np.random.default_rng(0)
    constants = {**attention_constants(random, True, False)}
    for name, rows in zip(NAMES, [(10,), (8,), (2,), (), ()], strict=True):
        constants[name] = random.integers(0, 256, (*rows, 16)).astype(np.uint8)
        constants[f"{name}.scale"] = np.float32(random.uniform(0.01, 0.02))
        constants[f"{name}.zero"] = np.uint8(random.integers(100, 150))
    parameters = [f"{name}.{stem}" for stem in ("scale", "zero") for name in NAMES]
    nodes = [
        helper.make_node(
            "QEmbedLayerNormalization", ["t", "g", *NAMES, "m", *parameters], ["e", "l"], domain="com.microsoft"
        ),
        helper.make_node("DynamicQuantizeLinear", ["e"], ["q", "s", "z"]),
        helper.make_node(
            "QAttention", ["q", "w", "b", "s", "sw", "l", "z", "zw"], ["y"], domain="com.microsoft", num_heads=4
        ),
    ]
    feeds: dict[str, Array] = {"t": TOKENS, "g": (TOKENS > 2).astype(np.int32), "m": MASK}
    proto = model(nodes, constants, feeds, {"y": "float32", "l": "int32"}, contrib=True)
    proto.opset_import[0].version = opset
    found, _ = run(proto, feeds)
    for one, other in zip(found, reference(proto, feeds), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_softmax_of_several_axes(axis: int) -> None:
    """As before operator set 13."""
    x: NDArray[np.int8] = np.random.default_rng(0).integers(-100, 100, (3, 4, 5)).astype(np.int8)
    constants = {"s": np.float32(0.05), "z": np.int8(3), "sy": np.float32(1 / 256), "zy": np.int8(-128)}
    node = helper.make_node(
        "QLinearSoftmax", ["x", "s", "z", "sy", "zy"], ["y"], domain="com.microsoft", axis=axis, opset=12
    )
    proto = model([node], constants, {"x": x}, {"y": "int8"}, contrib=True)
    (found,), _ = run(proto, {"x": x})
    assert np.abs(found.astype(int) - reference(proto, {"x": x})[0]).max() <= 1


def test_without_a_zero_point_the_type_is_that_of_the_operands() -> None:
    x = np.arange(-6, 6, dtype=np.int8)
    constants = {"s": np.float32(0.05), "z": np.int8(3), "sy": np.float32(0.02)}
    node = helper.make_node("QLinearAdd", ["x", "s", "z", "x", "s", "z", "sy"], ["y"], domain="com.microsoft")
    proto = model([node], constants, {"x": x}, {"y": "int8"}, contrib=True)
    np.testing.assert_array_equal(run(proto, {"x": x})[0][0], reference(proto, {"x": x})[0])


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_windows_that_no_pool_begins(opset: int) -> None:
    """ONNX's own inference counts them, and the converter of operator sets writes that down."""
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 7, 4)).astype(np.uint8)
    constants = {"s": np.float32(0.1), "z": np.uint8(3), "sy": np.float32(0.2), "zy": np.uint8(5)}
    window = {"kernel_shape": [3, 1], "strides": [2, 2], "ceil_mode": 1}
    node = helper.make_node("QLinearAveragePool", ["x", "s", "z", "sy", "zy"], ["y"], domain="com.microsoft", **window)
    proto = model([node], constants, {"x": x}, {"y": "uint8"}, contrib=True)
    proto.opset_import[0].version = opset
    (found,) = sparsec.compile(proto).run({"x": x}).values()
    (expected,) = reference(proto, {"x": x})
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("QLinearConv", {"channels_last": 1, "pads": [0, 1, 1, 0], "strides": [2, 1]}),
        ("QLinearConv", {"channels_last": 1, "group": 2, "auto_pad": "SAME_UPPER"}),
        ("QLinearAveragePool", {"channels_last": 1, "kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 0]}),
        ("QLinearGlobalAveragePool", {"channels_last": 1}),
        ("NhwcMaxPool", {"kernel_shape": [2, 3], "pads": [0, 1, 0, 1]}),
    ],
)
def test_images_with_channels_last(op: str, attributes: dict[str, object], dtype: type[np.generic]) -> None:
    """As in models that ONNX Runtime saves with all its optimisations."""
    random = np.random.default_rng(0)
    x = random.integers(-100, 100, (2, 7, 9, 4)).astype(dtype)
    inputs = 4 // int(str(attributes.get("group", 1)))
    # Within 63, so that ONNX Runtime is exact on CPUs without VNNI, too (its 16-bit sums do not saturate then).
    constants: dict[str, object] = {"w": random.integers(-63, 64, (6, inputs, 3, 3)).astype(np.int8)}
    constants |= {"sw": random.uniform(0.01, 0.02, 6).astype(np.float32), "zw": np.zeros(6, np.int8)}
    constants |= {"s": np.float32(0.03), "z": np.asarray(7, dtype), "zy": np.asarray(9, dtype)}
    constants["sy"] = np.float32(2 if op == "QLinearConv" else 0.02)
    weight = ["w", "sw", "zw"] if op == "QLinearConv" else []
    operands = ["x"] if op == "NhwcMaxPool" else ["x", "s", "z", *weight, "sy", "zy"]
    node = helper.make_node(op, operands, ["y"], domain="com.microsoft", **attributes)
    proto = model([node], constants, {"x": x}, {"y": str(x.dtype)}, contrib=True)
    (found,), _ = run(proto, {"x": x})
    (expected,) = reference(proto, {"x": x})
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= (1 if "Average" in op else 0)
