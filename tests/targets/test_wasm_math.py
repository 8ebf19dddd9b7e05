"""The functions that WebAssembly lacks, against NumPy and exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.wasm_engines.module import Instance
from sparsec.errors import UnsupportedOpError
from sparsec.targets import TARGETS, wasm_math
from sparsec.targets.backend import emit_object
from sparsec.targets.wasm_link import link
from sparsec.targets.wasm_memory import PAGE

NAMES = ["fmaf", "fmaxf", "fminf", "fmax", "fmin", "roundf", "round", "__powisf2", "__powidf2"]
LOOPS = """
declare float @__extendhfsf2(i16)
declare i16 @__truncsfhf2(float)
define float @widen(i32 %x) {
  %half = trunc i32 %x to i16
  %wide = call float @__extendhfsf2(i16 %half)
  ret float %wide
}
define i32 @narrow(float %x) {
  %half = call i16 @__truncsfhf2(float %x)
  %bits = zext i16 %half to i32
  ret i32 %bits
}
"""
FLOATS = st.floats(width=32)


@pytest.fixture(scope="module")
def library() -> Instance:
    text = wasm_math.code([*NAMES, "__extendhfsf2", "__truncsfhf2"])
    objects = [emit_object(each, TARGETS["wasm32"]) for each in (text, LOOPS)]
    return Instance(link(objects, stack_top=PAGE, constants=PAGE, exports=[*NAMES, "widen", "narrow"]).content)


def same(got: float, expected: float) -> bool:
    return (math.isnan(got) and math.isnan(expected)) or (
        got == expected and math.copysign(1, got) == math.copysign(1, expected)
    )


def nearest(value: Fraction) -> float:
    """The float32 nearest to a number, ties to even."""
    low = np.float32(float(value))  # rounded twice: one of its neighbours may be nearer
    near = [np.nextafter(low, np.float32(-np.inf)), low, np.nextafter(low, np.float32(np.inf))]
    finite = [each for each in near if np.isfinite(each)]
    return float(min(finite, key=lambda each: (abs(Fraction(float(each)) - value), int(each.view(np.uint32)) & 1)))


@settings(max_examples=300)
@given(*[st.floats(-(2.0**60), 2.0**60, width=32)] * 3)
def test_fused_multiply_add_rounds_once(library: Instance, x: float, y: float, z: float) -> None:
    exact = Fraction(x) * Fraction(y) + Fraction(z)
    if exact != 0 and abs(exact) > 1e-30:
        assert library.call("fmaf", x, y, z) == nearest(exact)


def test_fused_multiply_add_where_double_rounding_would_err(library: Instance) -> None:
    x, y, z = float(np.float32(1 + 2**-12)), float(np.float32(1 + 2**-12)), 2.0**-60
    assert library.call("fmaf", x, y, z) == nearest(Fraction(x) * Fraction(y) + Fraction(z))
    assert library.call("fmaf", x, y, -z) == nearest(Fraction(x) * Fraction(y) - Fraction(z))
    assert math.isnan(library.call("fmaf", math.inf, 0.0, 1.0))
    assert library.call("fmaf", math.inf, 1.0, 1.0) == math.inf


@given(FLOATS, FLOATS)
def test_the_larger_and_the_smaller_ignore_nan(library: Instance, x: float, y: float) -> None:
    for name, function in (("fmax", np.fmax), ("fmin", np.fmin)):
        for suffix in ("f", ""):
            got, expected = library.call(name + suffix, x, y), float(function(x, y))
            assert got == expected or (math.isnan(got) and math.isnan(expected))


@pytest.mark.parametrize("x", [0.5, -0.5, 0.49999997, 2.5, -2.5, 1e30, -0.0, 8388609.0, math.inf, math.nan])
def test_halves_round_away_from_zero(library: Instance, x: float) -> None:
    expected = math.copysign(math.floor(abs(x) + 0.5), x) if abs(x) < 1e6 and abs(x) != 0.49999997 else x
    expected = 0.0 if x == 0.49999997 else expected
    assert same(library.call("round", x), expected)
    assert same(library.call("roundf", x), float(np.float32(expected)))


@pytest.mark.parametrize(("base", "exponent"), [(2.0, 10), (-3.0, 3), (1.5, -2), (0.0, 0), (7.0, -1), (2.0, -(2**31))])
def test_whole_powers(library: Instance, base: float, exponent: int) -> None:
    assert library.call("__powidf2", base, exponent) == pytest.approx(base**exponent if exponent > -2000 else 0.0)
    assert library.call("__powisf2", base, exponent) == pytest.approx(base**exponent if exponent > -2000 else 0.0)


def test_every_half_is_widened_exactly(library: Instance) -> None:
    for bits in [*range(0, 65536, 7), 0x7C00, 0xFC00, 0x8000, 1, 0x3FF, 0x400]:
        expected = float(np.uint16(bits).view(np.float16))
        assert same(library.call("widen", bits), expected)


@settings(max_examples=300)
@given(FLOATS | st.floats(-70000, 70000, width=32) | st.floats(-(2.0**-13), 2.0**-13, width=32))
def test_halves_are_rounded_as_numpy_rounds(library: Instance, x: float) -> None:
    with np.errstate(over="ignore"):
        expected = np.float32(x).astype(np.float16)
    got = np.uint16(library.call("narrow", x)).view(np.float16)
    assert same(float(got), float(expected))


def test_a_function_that_exists_nowhere_is_refused() -> None:
    with pytest.raises(UnsupportedOpError, match="lgammaf"):
        wasm_math.code(["lgammaf", "expf"])
    assert wasm_math.code(["expf"]) == ""
