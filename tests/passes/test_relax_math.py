"""Quotients that are rounded: products must give the same codes, also half-way between two."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch_mlir import ir

import sparsec
from sparsec.ir.context import make_context
from sparsec.ir.weights import WeightStore
from sparsec.kernels.isa import AVX512
from sparsec.passes.relax_math import relax_math
from sparsec.passes.unit import Unit

COUNT = 4096


def codes(scale: np.float32, x: np.ndarray) -> np.ndarray:
    """QuantizeLinear of x to u8 with zero point 128, compiled."""
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])],
        "quantise",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [COUNT])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [COUNT])],
        [numpy_helper.from_array(np.asarray(scale), "scale"), numpy_helper.from_array(np.uint8(128), "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return np.asarray(sparsec.compile(model)(x))


@settings(max_examples=15)
@given(
    st.one_of(
        st.floats(2.0**-60, 2.0**60, width=32),
        st.integers(0, 7).map(lambda below: float(np.uint32(0x3FFFFFFF - below).view(np.float32))),
    )
)
def test_codes_are_those_of_a_division(number: float) -> None:
    scale = np.float32(number)
    steps = np.arange(-COUNT // 8, COUNT // 8, dtype=np.float32) / 2
    ties = (steps * scale).astype(np.float32)
    x = np.concatenate([ties, np.nextafter(ties, np.float32(np.inf)), np.nextafter(ties, np.float32(-np.inf))])
    x = np.concatenate([x, np.random.default_rng(0).standard_normal(COUNT - x.size).astype(np.float32) * 50 * scale])
    expected = np.clip(np.rint(x / scale) + 128, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(codes(scale, x), expected)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_infinity_and_the_largest_numbers_saturate() -> None:
    x = np.zeros(COUNT, np.float32)
    x[:4] = np.inf, -np.inf, 3.4e38, -3.4e38
    np.testing.assert_array_equal(codes(np.float32(1e-5), x)[:5], [255, 0, 255, 0, 128])


@pytest.fixture(scope="module")
def quantiser() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """QuantizeLinear of x with a scale that is an input, compiled as for processors on which division is slow."""
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])],
        "quantise",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [COUNT]),
            helper.make_tensor_value_info("scale", TensorProto.FLOAT, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [COUNT])],
        [numpy_helper.from_array(np.uint8(128), "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparsec.passes.relax_math._divides_slowly", lambda isa: isa.fuses)
        compiled = sparsec.compile(model)
    return lambda x, scale: np.asarray(compiled(x, scale))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=60)
@given(
    st.one_of(
        st.floats(2.0**-149, 2.0**127, width=32),
        st.floats(2.0**-20, 2.0**20, width=32),
        st.integers(0, 7).map(lambda below: float(np.uint32(0x3FFFFFFF - below).view(np.float32))),
        st.sampled_from([float("inf"), float("nan"), 0.0]),
    )
)
def test_a_scale_that_is_known_only_at_run_time(
    quantiser: Callable[[np.ndarray, np.ndarray], np.ndarray], number: float
) -> None:
    scale = np.float32(number)
    steps = np.arange(-COUNT // 8, COUNT // 8, dtype=np.float32) / 2
    ties = (steps * scale).astype(np.float32)
    x = np.concatenate([ties, np.nextafter(ties, np.float32(np.inf)), np.nextafter(ties, np.float32(-np.inf))])
    x = np.concatenate([x, np.random.default_rng(0).standard_normal(COUNT - x.size).astype(np.float32) * 50 * scale])
    x[:6] = np.inf, -np.inf, np.nan, 3.4e38, -3.4e38, np.float32(2.0 ** np.floor(np.log2(abs(scale) or 1.0)))
    quotient = (x / scale).astype(np.float32)
    expected = np.where(np.isnan(quotient), 0, np.clip(np.rint(quotient) + 128, 0, 255)).astype(np.uint8)
    np.testing.assert_array_equal(quantiser(x, np.asarray(scale)), expected)


def test_a_quotient_that_only_an_error_function_reads_need_not_be_exact() -> None:
    context = make_context()
    text = """
    #map = affine_map<(d0) -> (d0)>
    func.func @main(%x: tensor<8xf32>) -> tensor<8xf32> {
      %c = arith.constant 1.4142135 : f32
      %s = arith.constant 0.1 : f32
      %e = tensor.empty() : tensor<8xf32>
      %y = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]}
          ins(%x : tensor<8xf32>) outs(%e : tensor<8xf32>) {
      ^bb0(%in: f32, %out: f32):
        %0 = arith.divf %in, %c : f32
        %1 = math.erf %0 : f32
        %2 = arith.divf %1, %s : f32
        %3 = math.roundeven %2 : f32
        linalg.yield %3 : f32
      } -> tensor<8xf32>
      return %y : tensor<8xf32>
    }"""
    unit = Unit(ir.Module.parse(text, context), WeightStore(), AVX512)
    relax_math(unit)
    after = str(unit.module)
    assert after.count("arith.divf") == after.count("fastmath<arcp>") == 1, "that before the error function"
    assert after.count("math.fma") == 2, "that before the rounding"


def test_a_quotient_of_an_approximate_function_need_not_be_exact() -> None:
    text = """
    #map = affine_map<(d0) -> (d0)>
    func.func @main(%x: tensor<8xf32>) -> tensor<8xf32> {
      %one = arith.constant 1.0 : f32
      %s = arith.constant 0.1 : f32
      %e = tensor.empty() : tensor<8xf32>
      %y = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]}
          ins(%x : tensor<8xf32>) outs(%e : tensor<8xf32>) {
      ^bb0(%in: f32, %out: f32):
        %0 = math.erf %in : f32
        %1 = arith.addf %0, %one : f32
        %2 = arith.mulf %in, %1 : f32
        %3 = arith.divf %2, %s : f32
        %4 = math.roundeven %3 : f32
        linalg.yield %4 : f32
      } -> tensor<8xf32>
      return %y : tensor<8xf32>
    }"""
    unit = Unit(ir.Module.parse(text, make_context()), WeightStore(), AVX512)
    relax_math(unit)
    after = str(unit.module)
    assert after.count("fastmath<afn>") == after.count("fastmath<arcp>") == 1
    assert "math.fma" not in after


def softmax(*, and_maximum: bool) -> sparsec.CompiledModel:
    """exp(x - max x) / sum over rows of 40, compiled; the maximum is an output, too, or not."""
    rows = helper.make_tensor_value_info("x", TensorProto.FLOAT, [32, 40])
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], axes=[-1]),
        helper.make_node("Sub", ["x", "top"], ["less"]),
        helper.make_node("Exp", ["less"], ["e"]),
        helper.make_node("ReduceSum", ["e", "axis"], ["sum"]),
        helper.make_node("Div", ["e", "sum"], ["y"]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [32, 40])]
    if and_maximum:
        outputs.append(helper.make_tensor_value_info("top", TensorProto.FLOAT, [32, 1]))
    graph = helper.make_graph(nodes, "softmax", [rows], outputs, [numpy_helper.from_array(np.array([-1]), "axis")])
    return sparsec.compile(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("and_maximum", [False, True])
def test_softmax_of_numbers_that_are_none(and_maximum: bool) -> None:
    x = np.random.default_rng(0).standard_normal((32, 40)).astype(np.float32) * 20
    x[0, 5] = x[1, 0] = x[2, 39] = np.nan
    x[3] = np.nan
    x[4, 7], x[5, 7], x[6] = np.inf, -np.inf, -np.inf
    x[7, :38], x[8, ::2] = -np.inf, -1e4
    x[9, 3], x[9, 4] = np.nan, np.inf
    e = np.exp((x - x.max(-1, keepdims=True)).astype(np.float64))
    found = softmax(and_maximum=and_maximum)(x)
    y, *top = found if and_maximum else [found]
    np.testing.assert_allclose(y, e / e.sum(-1, keepdims=True), rtol=1e-6, atol=3e-38)
    for each in top:
        np.testing.assert_array_equal(each, x.max(-1, keepdims=True))
