"""Quantised convolutions, compiled and run, against sums in float64 and ONNX Runtime's rounding rules.

Weights stay within 63, so that ONNX Runtime is exact on CPUs without VNNI, too (its 16-bit sums do not saturate then).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.quantised_models import LIMITS, SLOW, Array, choices, model, reference, requantised, run, within_a_step


@dataclass(frozen=True)
class Conv:
    """A drawn convolution."""

    x: Array
    constants: dict[str, object]
    attributes: dict[str, object]
    y_dtype: str


@st.composite
def convolutions(draw: st.DrawFn, *, axes: tuple[int, ...] = (1, 2)) -> Conv:
    rank = draw(st.sampled_from(axes))
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    channels, filters = groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 5))
    if groups > 1 and draw(st.booleans()):
        channels, filters = groups, groups * draw(st.integers(1, 2))  # one channel each
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    sizes = [draw(st.integers(4, 9)) for _ in range(rank)]
    pads = [draw(st.integers(0, 2)) for _ in range(2 * rank)]
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    x_dtype, y_dtype = draw(st.sampled_from(sorted(LIMITS))), draw(st.sampled_from(sorted(LIMITS)))
    low, high = LIMITS[x_dtype]
    w = random.integers(-63, 64, (filters, channels // groups, *kernel))
    w[random.random(w.shape) < draw(st.sampled_from([0.0, 0.7]))] = 0
    zero = draw(st.sampled_from([0, 0, 128, 70]))
    w_dtype = np.uint8 if zero else np.int8
    scale = random.uniform(0.001, 0.01, (filters,) if draw(st.booleans()) else ()).astype(np.float32)
    x_scale = np.float32(random.uniform(0.01, 0.1))
    constants: dict[str, object] = {
        "sx": x_scale,
        "zx": np.dtype(x_dtype).type(draw(st.sampled_from([low, high, 3]))),
        "w": (w + zero).astype(w_dtype),
        "sw": scale,
        "zw": np.full(scale.shape, zero, w_dtype),
        "b": random.integers(-2000, 2000, filters).astype(np.int32),
        "sb": np.float32(x_scale * scale) if scale.ndim == 0 else x_scale * scale,
        "sy": np.float32(random.uniform(0.05, 0.5)),
        "zy": np.dtype(y_dtype).type(draw(st.sampled_from([LIMITS[y_dtype][0], 7]))),
    }
    attributes: dict[str, object] = {
        "pads": pads,
        "strides": [draw(st.integers(1, 2)) for _ in range(rank)],
        "dilations": [draw(st.integers(1, 2)) if size >= 7 else 1 for size in sizes],
        "group": groups,
    }
    x = random.integers(low, high + 1, (draw(st.integers(1, 2)), channels, *sizes)).astype(x_dtype)
    return Conv(x, constants, attributes, y_dtype)


def convolved(conv: Conv) -> tuple[Array, Array]:
    """The exact sums with bias, and their scale along channels."""
    padded = (conv.x.astype(np.float64) - float(conv.constants["zx"])).astype(np.float64)  # type: ignore[arg-type]
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], **conv.attributes)
    zero = np.asarray(conv.constants["zw"]).reshape(-1)[0]
    w, b = np.asarray(conv.constants["w"], np.float64) - zero, np.asarray(conv.constants["b"], np.float64)
    graph = helper.make_graph(
        [node],
        "sums",
        [helper.make_tensor_value_info(n, TensorProto.DOUBLE, v.shape) for n, v in (("x", padded), ("w", w), ("b", b))],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    total = onnx.reference.ReferenceEvaluator(made).run(None, {"x": padded, "w": w, "b": b})[0]
    scale = np.asarray(conv.constants["sw"], np.float32) * np.float32(conv.constants["sx"])  # type: ignore[arg-type]
    return np.rint(total).astype(np.int64), scale.reshape(-1, *[1] * (conv.x.ndim - 2))


@SLOW
@given(convolutions(), st.booleans())
def test_dequantised_convolution(conv: Conv, rectified: bool) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "sx", "zx"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wf"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "sb"], ["bf"], axis=0),
        helper.make_node("Conv", ["xf", "wf", "bf"], ["y0"], **conv.attributes),
        *([helper.make_node("Relu", ["y0"], ["y1"])] if rectified else []),
        helper.make_node("QuantizeLinear", ["y1" if rectified else "y0", "sy", "zy"], ["y"]),
    ]
    (found,), compiled = run(model(nodes, conv.constants, {"x": conv.x}, {"y": conv.y_dtype}), {"x": conv.x})
    total, scale = convolved(conv)
    total = np.maximum(total, 0) if rectified else total
    factor = scale / np.float32(conv.constants["sy"])  # type: ignore[arg-type]
    expected = requantised(total, factor, int(conv.constants["zy"]), conv.y_dtype)  # type: ignore[call-overload]
    within_a_step(found, expected, compiled)


@SLOW
@given(convolutions())
def test_qlinear_conv(conv: Conv) -> None:
    operands = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b"]
    nodes = [helper.make_node("QLinearConv", operands, ["y"], **conv.attributes)]
    (found,), compiled = run(model(nodes, conv.constants, {"x": conv.x}, {"y": conv.y_dtype}), {"x": conv.x})
    total, scale = convolved(conv)
    factor = scale / np.float32(conv.constants["sy"])  # type: ignore[arg-type]
    expected = requantised(total, factor, int(conv.constants["zy"]), conv.y_dtype)  # type: ignore[call-overload]
    within_a_step(found, expected, compiled)


@SLOW
@given(convolutions())
def test_conv_integer(conv: Conv) -> None:
    x = conv.x if conv.x.dtype == np.uint8 else (conv.x.astype(np.int16) + 128).astype(np.uint8)
    zero = int(conv.constants["zx"]) + (0 if conv.x.dtype == np.uint8 else 128)  # type: ignore[call-overload]
    constants = {**conv.constants, "zx": np.uint8(zero), "zw": np.asarray(conv.constants["zw"]).reshape(-1)[0]}
    nodes = [helper.make_node("ConvInteger", ["x", "w", "zx", "zw"], ["y"], **conv.attributes)]
    (found,), _ = run(model(nodes, constants, {"x": x}, {"y": "int32"}), {"x": x})
    total, _ = convolved(conv)
    bias = np.asarray(conv.constants["b"], np.int64).reshape(-1, *[1] * (x.ndim - 2))
    np.testing.assert_array_equal(found, total - bias)


@pytest.mark.parametrize("dtype", sorted(LIMITS))
@pytest.mark.parametrize("quantised", [False, True])
def test_pads_before_a_convolution(dtype: str, quantised: bool) -> None:
    """Of codes they are pads with the zero point, and of unsigned ones the layer's own."""
    random = np.random.default_rng(0)
    x = random.integers(*LIMITS[dtype], (1, 3, 6, 7)).astype(dtype)
    constants: dict[str, object] = {
        "sx": np.float32(0.03),
        "zx": x.dtype.type(5),
        "w": random.integers(-63, 64, (4, 3, 3, 3)).astype(np.int8),
        "sw": np.float32(0.01),
        "zw": np.int8(0),
        "pads": np.array([0, 0, 1, 0, 0, 0, 2, 1]),
        "none": np.float32(0),
        "sy": np.float32(0.2),
    }
    between = [
        helper.make_node("QuantizeLinear", ["p", "sx", "zx"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "sx", "zx"], ["pf"]),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "sx", "zx"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wf"]),
        helper.make_node("Pad", ["xf", "pads", "none"], ["p"]),
        *(between if quantised else []),
        helper.make_node("Conv", ["pf" if quantised else "p", "wf"], ["c"], strides=[2, 2]),
        helper.make_node("QuantizeLinear", ["c", "sy", "zx"], ["y"]),
    ]
    proto = model(nodes, constants, {"x": x}, {"y": dtype})
    (found,), compiled = run(proto, {"x": x})
    within_a_step(found, reference(proto, {"x": x})[0], compiled)
    assert choices(compiled) == ["u8s8"]


def test_a_weight_that_needs_sums_over_windows_stays_float32() -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (1, 2, 5, 5)).astype(np.uint8)
    w = random.integers(0, 64, (3, 2, 3, 3)).astype(np.uint8)
    w[0, 0, 0] = [0, 100, 255]
    constants = {"zx": np.uint8(9), "w": w, "zw": np.uint8(100)}
    nodes = [helper.make_node("ConvInteger", ["x", "w", "zx", "zw"], ["y"])]
    proto = model(nodes, constants, {"x": x}, {"y": "int32"})
    (found,), compiled = run(proto, {"x": x})
    padded = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64) - 9, (3, 3), axis=(2, 3))
    expected = np.einsum("bchwij,fcij->bfhw", padded, w.astype(np.int64) - 100)
    np.testing.assert_array_equal(found, expected)
    assert "sums over windows" in compiled.report.layers[0].reason
