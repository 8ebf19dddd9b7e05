"""Quantised layers, compiled and run, against NumPy in int64 and ONNX Runtime's rounding rules.

Weights stay within 63, so that ONNX Runtime is exact on CPUs without VNNI, too (its 16-bit sums do not saturate then).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

import sparsec

Array = NDArray[np.generic]
SLOW = settings(max_examples=12, suppress_health_check=list(HealthCheck))
LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}
PROTO = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "float32": TensorProto.FLOAT, "int32": TensorProto.INT32}


def model(
    nodes: list[NodeProto],
    constants: Mapping[str, object],
    inputs: Mapping[str, Array],
    outputs: Mapping[str, str],
    contrib: bool = False,
) -> onnx.ModelProto:
    """A model of `nodes`; inputs are like the arrays given, `outputs` says the type of each output."""
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info(k, PROTO[str(v.dtype)], v.shape) for k, v in inputs.items()],
        [helper.make_tensor_value_info(k, PROTO[v], None) for k, v in outputs.items()],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    domains = [helper.make_opsetid("", 17), *([helper.make_opsetid("com.microsoft", 1)] if contrib else [])]
    made = helper.make_model(graph, opset_imports=domains)
    made.ir_version = 8
    return made


def run(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> tuple[list[Array], sparsec.CompiledModel]:
    compiled = sparsec.compile(proto)
    return list(compiled.run(feeds).values()), compiled


def reference(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(None, dict(feeds))
    return found


def choices(compiled: sparsec.CompiledModel) -> list[str]:
    return [layer.choice.split("_")[0] for layer in compiled.report.layers]


def requantised(total: Array, scale: Array, zero: int, dtype: str) -> Array:
    """Round half to even of float32(total) * scale, plus the zero point, saturated."""
    low, high = LIMITS[dtype]
    return np.clip(np.rint(total.astype(np.float32) * scale) + zero, low, high).astype(dtype)


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


def within_a_step(found: Array, expected: Array, compiled: sparsec.CompiledModel) -> None:
    """Equal where the layer is computed on bytes; float32 may round a tie to the other side."""
    if choices(compiled) == ["u8s8"]:
        np.testing.assert_array_equal(found, expected)
    else:
        assert np.abs(found.astype(np.int64) - expected.astype(np.int64)).max(initial=0) <= 1


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


@SLOW
@given(st.sampled_from(sorted(LIMITS)), st.booleans(), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**31))
def test_maxima_between_quantisations(dtype: str, alike: bool, height: int, width: int, seed: int) -> None:
    """Alike, they are maxima of codes; otherwise the quantisation comes first."""
    random = np.random.default_rng(seed)
    low, high = LIMITS[dtype]
    x = random.integers(low, high + 1, (1, 3, 7, 8)).astype(dtype)
    pads = [random.integers(0, size // 2 + 1) for size in (height, width, height, width)]
    constants = {
        "sx": np.float32(0.03),
        "zx": x.dtype.type(5),
        "sy": np.float32(0.03 if alike else 0.0371),
        "zy": x.dtype.type(5 if alike else 9),
    }
    window = {"kernel_shape": [height, width], "strides": [2, 1], "pads": pads}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "sx", "zx"], ["xf"]),
        helper.make_node("MaxPool", ["xf"], ["m"], **window),
        helper.make_node("QuantizeLinear", ["m", "sy", "zy"], ["y"]),
    ]
    proto = model(nodes, constants, {"x": x}, {"y": dtype})
    np.testing.assert_array_equal(run(proto, {"x": x})[0][0], reference(proto, {"x": x})[0])


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


@pytest.mark.parametrize("dtype", sorted(LIMITS))
def test_long_functions_of_codes_are_tables(dtype: str) -> None:
    """GELU with a quantisation after each step, of every code."""
    x = np.arange(*LIMITS[dtype], dtype=dtype).reshape(1, -1)
    constants: dict[str, object] = {"root": np.float32(2**0.5), "one": np.float32(1), "z": x.dtype.type(3)}
    nodes, value = [helper.make_node("DequantizeLinear", ["x", "s0", "z"], ["v0"])], "v0"
    steps = [("Div", "root"), ("Erf", ""), ("Add", "one"), ("Mul", "v0"), ("Tanh", ""), ("Sigmoid", "")]
    scales = [0.04, 0.03, 0.01, 0.02, 0.04, 0.01, 0.01]
    for i, (op, other) in enumerate(steps, 1):
        nodes.append(helper.make_node(op, [value, other] if other else [value], [f"r{i}"]))
        nodes.append(helper.make_node("QuantizeLinear", [f"r{i}", f"s{i}", "z"], [f"q{i}"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"q{i}", f"s{i}", "z"], [f"v{i}"]))
        value = f"v{i}"
    constants |= {f"s{i}": np.float32(scale) for i, scale in enumerate(scales)}
    proto = model(nodes, constants, {"x": x}, {value: "float32"})
    (found,), _ = run(proto, {"x": x})
    assert np.abs(found - reference(proto, {"x": x})[0]).max() <= 1.01 * scales[-1]


CONTRIB = {
    "QLinearAdd": (2, {}),
    "QLinearMul": (2, {}),
    "QLinearSigmoid": (1, {}),
    "QLinearLeakyRelu": (1, {"alpha": 0.1}),
    "QLinearGlobalAveragePool": (1, {}),
    "QLinearAveragePool": (1, {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "QLinearSoftmax": (1, {"axis": -1, "opset": 17}),
}


@pytest.mark.parametrize("op", sorted(CONTRIB))
def test_operators_of_onnx_runtime(op: str) -> None:
    count, attributes = CONTRIB[op]
    random = np.random.default_rng(0)
    feeds: dict[str, Array] = {f"x{i}": random.integers(0, 256, (2, 3, 4, 6)).astype(np.uint8) for i in range(count)}
    constants: dict[str, object] = {"sy": np.float32(0.01 if op != "QLinearMul" else 5), "zy": np.uint8(9)}
    operands: list[str] = []
    for i in range(count):
        constants |= {f"s{i}": np.float32(0.02 + 0.01 * i), f"z{i}": np.uint8(100 + i)}
        operands += [f"x{i}", f"s{i}", f"z{i}"]
    nodes = [helper.make_node(op, [*operands, "sy", "zy"], ["y"], domain="com.microsoft", **attributes)]
    proto = model(nodes, constants, feeds, {"y": "uint8"}, contrib=True)
    (found,), _ = run(proto, feeds)
    (expected,) = reference(proto, feeds)
    assert np.abs(found.astype(np.int64) - expected.astype(np.int64)).max() <= 1


def test_concatenation_of_codes() -> None:
    random = np.random.default_rng(0)
    feeds: dict[str, Array] = {f"x{i}": random.integers(0, 256, (2, 3 + i)).astype(np.uint8) for i in range(2)}
    constants = {f"s{i}": np.float32(0.02 + 0.01 * i) for i in range(3)} | {f"z{i}": np.uint8(9 * i) for i in range(3)}
    operands = ["s2", "z2", "x0", "s0", "z0", "x1", "s1", "z1"]
    nodes = [helper.make_node("QLinearConcat", operands, ["y"], domain="com.microsoft", axis=1)]
    proto = model(nodes, constants, feeds, {"y": "uint8"}, contrib=True)
    np.testing.assert_array_equal(run(proto, feeds)[0][0], reference(proto, feeds)[0])
