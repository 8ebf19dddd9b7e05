"""Pairs of quantisations, joined or not, must give the codes that ONNX defines, also where a quotient is half-way between two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch_mlir import ir

import sparsec
from sparsec.ir.context import make_context
from sparsec.ir.weights import WeightStore
from sparsec.kernels.isa import AVX512
from sparsec.passes.evaluate import fused_multiply_add
from sparsec.passes.join_codes import join_codes
from sparsec.passes.unit import Unit

COUNT = 2048
SCALES = st.floats(2.0**-20, 2.0**20, width=32)
RANGES = {"u8": (np.uint8, 0, 255), "s8": (np.int8, -128, 127)}


def quantise(x: NDArray[np.float32], scale: np.float32, zero: int, kind: str) -> NDArray[np.float64]:
    """Codes as ONNX defines QuantizeLinear; NaN becomes the least."""
    _, low, high = RANGES[kind]
    with np.errstate(all="ignore"):
        codes = np.rint(x / scale).astype(np.float64) + zero
    return np.clip(np.where(np.isnan(codes), low, codes), low, high)


def chain(
    kinds: tuple[str, str], scales: tuple[np.float32, np.float32], zeros: tuple[int, int], between: str
) -> object:
    """x -> codes -> numbers -> `between` -> codes, compiled."""
    constants, nodes = [], []
    for number, (kind, scale, zero) in enumerate(zip(kinds, scales, zeros, strict=True)):
        constants.append(numpy_helper.from_array(np.asarray(scale), f"scale{number}"))
        constants.append(numpy_helper.from_array(RANGES[kind][0](zero), f"zero{number}"))
    constants.append(numpy_helper.from_array(np.float32(6), "six"))
    constants.append(numpy_helper.from_array(np.float32(0), "nought"))
    nodes.append(helper.make_node("QuantizeLinear", ["x", "scale0", "zero0"], ["q"]))
    nodes.append(helper.make_node("DequantizeLinear", ["q", "scale0", "zero0"], ["d"]))
    inputs = ["d", "nought", "six"] if between == "Clip" else ["d"]
    nodes.append(helper.make_node(between, inputs, ["r"]))
    nodes.append(helper.make_node("QuantizeLinear", ["r", "scale1", "zero1"], ["y"]))
    kind = TensorProto.UINT8 if kinds[1] == "u8" else TensorProto.INT8
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [COUNT])],
        [helper.make_tensor_value_info("y", kind, [COUNT])],
        constants,
    )
    return sparsec.compile(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))


BETWEEN = {
    "Relu": lambda x: np.maximum(x, np.float32(0)),
    "Clip": lambda x: np.clip(x, np.float32(0), np.float32(6)),
    "Identity": lambda x: x,
    "Abs": np.abs,  # no rising function of the codes
    "Neg": np.negative,
}


@settings(max_examples=25)
@given(
    st.tuples(st.sampled_from(sorted(RANGES)), st.sampled_from(sorted(RANGES))),
    SCALES,
    st.floats(0.125, 8, width=32),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.sampled_from(sorted(BETWEEN)),
)
def test_codes_of_codes(
    kinds: tuple[str, str], scale: float, ratio: float, zeros: tuple[float, float], between: str
) -> None:
    scales = np.float32(scale), np.float32(scale * ratio)
    places = [round(RANGES[kind][1] + 255 * part) for kind, part in zip(kinds, zeros, strict=True)]
    steps = np.arange(-COUNT // 4, COUNT // 4, dtype=np.float32)
    ties = ((steps + np.float32(0.5)) * scales[0]).astype(np.float32)
    x = np.concatenate([steps * scales[0], ties])
    x[:8] = np.inf, -np.inf, 3.4e38, -3.4e38, 0.0, -0.0, np.nan, 1e-45
    first = quantise(x, scales[0], places[0], kinds[0])
    numbers = (first - places[0]).astype(np.float32) * scales[0]
    expected = quantise(BETWEEN[between](numbers), scales[1], places[1], kinds[1])
    found = chain(kinds, scales, (places[0], places[1]), between)(x)  # type: ignore[operator]
    np.testing.assert_array_equal(np.asarray(found, np.float64), expected)


@pytest.mark.parametrize("zero", [0, 1, 128, 254, 255])
@pytest.mark.parametrize("between", ["Identity", "Relu"])
def test_zero_points_at_the_ends(zero: int, between: str) -> None:
    scales = np.float32(0.3), np.float32(0.1)
    x = np.linspace(-100, 100, COUNT, dtype=np.float32)
    first = quantise(x, scales[0], zero, "u8")
    numbers = (first - zero).astype(np.float32) * scales[0]
    expected = quantise(BETWEEN[between](numbers), scales[1], zero, "u8")
    found = chain(("u8", "u8"), scales, (zero, zero), between)(x)  # type: ignore[operator]
    np.testing.assert_array_equal(np.asarray(found, np.float64), expected)


def test_multiply_add_is_rounded_once() -> None:
    random = np.random.default_rng(0)
    a, b, c = (random.standard_normal(20_000).astype(np.float32) for _ in range(3))
    c[:10_000] = -(a[:10_000] * b[:10_000])  # cancels
    c[10_000:] *= np.float32(2.0) ** random.integers(-40, 40, 10_000)
    exact = a.astype(np.longdouble) * b + c  # 64 bits of significand, then rounded: off only where those lie half-way
    np.testing.assert_array_equal(fused_multiply_add(a, b, c), exact.astype(np.float32))


@pytest.mark.parametrize("high", ["256.0", "2147483520.0"])
def test_a_number_that_wraps_is_no_code(high: str) -> None:
    """There would be more of them than bytes, and none to try them all with."""
    text = (Path(__file__).parent / "golden" / "join_codes.in.mlir").read_text().replace("255.0", high)
    unit = Unit(ir.Module.parse(text, make_context()), WeightStore(), AVX512)
    before = str(unit.module)
    join_codes(unit)
    assert str(unit.module) == before


def test_a_code_that_depends_on_its_place_is_no_function_of_another() -> None:
    text = (Path(__file__).parent / "golden" / "join_codes.in.mlir").read_text()
    place = """%i = linalg.index 1 : index
    %first = arith.cmpi eq, %i, %i : index
    %10 = arith.select %first, %zero, %9 : f32"""
    unit = Unit(
        ir.Module.parse(text.replace("%10 = arith.mulf %9, %scale : f32", place), make_context()),
        WeightStore(),
        AVX512,
    )
    before = str(unit.module)
    join_codes(unit)
    assert str(unit.module) == before
