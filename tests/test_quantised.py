"""Quantised linear layers, compiled and run, against NumPy in int64 and ONNX Runtime's rounding rules.

Weights stay within 63, so that ONNX Runtime is exact on CPUs without VNNI, too (its 16-bit sums do not saturate then).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper

from tests.quantised_models import LIMITS, SLOW, Array, choices, model, requantised, run


@dataclass(frozen=True)
class Linear:
    """A drawn linear layer; weights are [inputs, outputs]."""

    x: Array
    x_scale: np.float32
    x_zero: int
    w: Array
    w_scale: Array
    w_zero: Array
    bias: Array
    y_scale: np.float32
    y_zero: int
    y_dtype: str

    @property
    def total(self) -> Array:
        """The exact sums of products of numbers without zero points, and the bias."""
        x, w = self.x.astype(np.int64) - self.x_zero, self.w.astype(np.int64) - self.w_zero
        return x @ w + self.bias

    @property
    def constants(self) -> dict[str, object]:
        return {
            "sx": self.x_scale,
            "zx": self.x.dtype.type(self.x_zero),
            "w": self.w,
            "sw": self.w_scale,
            "zw": self.w_zero.astype(self.w.dtype),
            "b": self.bias.astype(np.int32),
            "sb": self.x_scale * self.w_scale,
            "sy": self.y_scale,
            "zy": np.dtype(self.y_dtype).type(self.y_zero),
        }


@st.composite
def linears(draw: st.DrawFn, *, asymmetric: bool = True, scalar_bias: bool = False) -> Linear:
    n, k, m = draw(st.integers(1, 9)), draw(st.integers(1, 70)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    x_dtype, y_dtype = draw(st.sampled_from(sorted(LIMITS))), draw(st.sampled_from(sorted(LIMITS)))
    low, high = LIMITS[x_dtype]
    per_channel = draw(st.booleans())
    shape = (m,) if per_channel else ()
    unsigned = asymmetric and draw(st.booleans())
    w = random.integers(-63, 64, (k, m))
    w[random.random((k, m)) < draw(st.sampled_from([0.0, 0.7, 1.0]))] = 0
    # Unsigned weights have the zero point of signed ones, or another, which sums of x must correct.
    zero = draw(st.sampled_from([128, 100])) if unsigned else 0
    return Linear(
        x=random.integers(low, high + 1, (n, k)).astype(x_dtype),
        x_scale=np.float32(random.uniform(0.01, 0.1)),
        x_zero=draw(st.sampled_from([low, high, 3])),
        w=(w + zero).astype(np.uint8 if unsigned else np.int8),
        w_scale=random.uniform(0.001, 0.01, shape).astype(np.float32),
        w_zero=np.full(shape, zero),
        bias=random.integers(-5000, 5000, m) if draw(st.booleans()) else np.zeros(m, np.int64),
        y_scale=np.float32(random.uniform(0.05, 0.5)),
        y_zero=draw(st.sampled_from([LIMITS[y_dtype][0], 7])),
        y_dtype=y_dtype,
    )


def dequantised(layer: Linear) -> list[NodeProto]:
    """DequantizeLinear of x, w and b."""
    return [
        helper.make_node("DequantizeLinear", ["x", "sx", "zx"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wf"], axis=1),
        helper.make_node("DequantizeLinear", ["b", "sb"], ["bf"], axis=0),
    ]


@SLOW
@given(linears(), st.booleans(), st.booleans())
def test_dequantised_gemm_that_is_quantised(layer: Linear, rectified: bool, transposed: bool) -> None:
    nodes, constants = dequantised(layer), layer.constants
    if layer.w_scale.ndim == 0:  # the bias has one scale then
        constants["sb"] = np.float32(constants["sb"])  # type: ignore[arg-type]
    if transposed:
        constants["w"] = np.ascontiguousarray(layer.w.T)
        nodes[1] = helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wf"], axis=0)
    nodes.append(helper.make_node("Gemm", ["xf", "wf", "bf"], ["y0"], transB=int(transposed)))
    nodes += [helper.make_node("Relu", ["y0"], ["y1"])] if rectified else []
    nodes.append(helper.make_node("QuantizeLinear", ["y1" if rectified else "y0", "sy", "zy"], ["y"]))
    (found,), compiled = run(model(nodes, constants, {"x": layer.x}, {"y": layer.y_dtype}), {"x": layer.x})
    total = np.maximum(layer.total, 0) if rectified else layer.total
    scale = layer.x_scale * layer.w_scale / layer.y_scale
    np.testing.assert_array_equal(found, requantised(total, scale, layer.y_zero, layer.y_dtype))
    assert choices(compiled) == ["u8s8"]


@SLOW
@given(linears(), st.booleans())
def test_dequantised_matmul_of_rank_three(layer: Linear, biased: bool) -> None:
    x = np.stack([layer.x, layer.x[::-1]])
    nodes = [*dequantised(layer)[:2], helper.make_node("MatMul", ["xf", "wf"], ["y0" if biased else "y"])]
    constants = layer.constants
    real = np.random.default_rng(0).standard_normal(layer.w.shape[1]).astype(np.float32)
    if biased:
        constants["real"] = real
        nodes.append(helper.make_node("Add", ["y0", "real"], ["y"]))
    (found,), compiled = run(model(nodes, constants, {"x": x}, {"y": "float32"}), {"x": x})
    total = layer.total - layer.bias
    expected = total * (layer.x_scale * layer.w_scale).astype(np.float64) + (real if biased else 0)
    np.testing.assert_allclose(found, np.stack([expected, expected[::-1]]), rtol=1e-5, atol=1e-5)
    assert choices(compiled) == ["u8s8"]


@SLOW
@given(linears())
def test_qlinear_matmul(layer: Linear) -> None:
    constants = {**layer.constants, "sw": layer.w_scale, "zw": layer.w_zero.astype(layer.w.dtype)}
    nodes = [helper.make_node("QLinearMatMul", ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy"], ["y"])]
    (found,), compiled = run(model(nodes, constants, {"x": layer.x}, {"y": layer.y_dtype}), {"x": layer.x})
    scale = layer.x_scale * layer.w_scale / layer.y_scale
    expected = requantised(layer.total - layer.bias, scale, layer.y_zero, layer.y_dtype)
    np.testing.assert_array_equal(found, expected)
    assert choices(compiled) == ["u8s8"]


@SLOW
@given(linears())
def test_matmul_integer(layer: Linear) -> None:
    constants = {**layer.constants, "zw": layer.w_zero.astype(layer.w.dtype)}
    nodes = [helper.make_node("MatMulInteger", ["x", "w", "zx", "zw"], ["y"])]
    (found,), compiled = run(model(nodes, constants, {"x": layer.x}, {"y": "int32"}), {"x": layer.x})
    np.testing.assert_array_equal(found, layer.total - layer.bias)
    assert choices(compiled) == ["u8s8"]


@SLOW
@given(linears(), st.booleans())
def test_qgemm(layer: Linear, quantised: bool) -> None:
    operands = ["x", "sx", "zx", "w", "sw", "zw", "b", *(["sy", "zy"] if quantised else [])]
    nodes = [helper.make_node("QGemm", operands, ["y"], domain="com.microsoft")]
    outputs = {"y": layer.y_dtype if quantised else "float32"}
    proto = model(nodes, layer.constants, {"x": layer.x}, outputs, contrib=True)
    (found,), compiled = run(proto, {"x": layer.x})
    scale = layer.x_scale * layer.w_scale
    if quantised:
        expected = requantised(layer.total, scale / layer.y_scale, layer.y_zero, layer.y_dtype)
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, layer.total * scale.astype(np.float64), rtol=1e-6, atol=1e-6)
    assert choices(compiled) == ["u8s8"]


@SLOW
@given(linears(), st.sampled_from(["nodes", "DynamicQuantizeMatMul"]))
def test_dynamically_quantised_matmul(layer: Linear, form: str) -> None:
    x = (layer.x.astype(np.float32) - layer.x_zero) * layer.x_scale
    constants = {**layer.constants, "zw": layer.w_zero.astype(layer.w.dtype)}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z", "zw"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["s", "sw"], ["scale"]),
        helper.make_node("Mul", ["f", "scale"], ["y"]),
    ]
    if form != "nodes":
        nodes = [helper.make_node(form, ["x", "w", "sw", "zw"], ["y"], domain="com.microsoft")]
    proto = model(nodes, constants, {"x": x}, {"y": "float32"}, contrib=form != "nodes")
    (found,), compiled = run(proto, {"x": x})
    width = np.maximum(x.max(), 0) - np.minimum(x.min(), 0)
    scale = np.float32(1) if width == 0 else np.float32(width / np.float32(255))
    zero = np.clip(np.rint(-np.minimum(x.min(), 0) / scale), 0, 255)
    codes = np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.int64)
    total = (codes - int(zero)) @ (layer.w.astype(np.int64) - layer.w_zero)
    np.testing.assert_allclose(found, total * np.float64(scale) * layer.w_scale, rtol=1e-5, atol=1e-6)
    assert choices(compiled) == ["u8s8"]


def test_sums_that_may_exceed_32_bits_stay_float32() -> None:
    inputs = 2**31 // (255 * 127) + 1
    x = np.full((1, inputs), 255, np.uint8)
    constants = {"w": np.full((inputs, 1), 127, np.int8), "one": np.float32(1), "zw": np.int8(0), "zx": np.uint8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "one", "zx"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "one", "zw"], ["wf"]),
        helper.make_node("MatMul", ["xf", "wf"], ["y"]),
    ]
    (found,), compiled = run(model(nodes, constants, {"x": x}, {"y": "float32"}), {"x": x})
    np.testing.assert_allclose(found, [[inputs * 255 * 127]], rtol=1e-4)
    assert choices(compiled) == ["f32"]
    assert "may exceed 32 bits" in compiled.report.layers[0].reason
    assert any("1 quantised layers stay in float32" in note for note in compiled.report.notes)


@pytest.mark.parametrize("shape", [(0, 16), (3, 0, 16), (0, 16, 4, 4)])
def test_nothing_to_multiply(shape: tuple[int, ...]) -> None:
    """Of a batch without samples there are no results."""
    w = np.ones((16, 5) if len(shape) < 4 else (5, 16, 3, 3), np.int8)
    constants = {"w": w, "s": np.float32(0.1), "z": np.uint8(3), "sw": np.float32(0.1), "zw": np.int8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wf"]),
        helper.make_node("MatMul" if len(shape) < 4 else "Conv", ["xf", "wf"], ["y"]),
    ]
    feeds: dict[str, Array] = {"x": np.zeros(shape, np.uint8)}
    (found,), _ = run(model(nodes, constants, feeds, {"y": "float32"}), feeds)
    assert found.shape == ((*shape[:-1], 5) if len(shape) < 4 else (0, 5, 2, 2))
