"""Functions of f32 from polynomials of low degree whose coefficients lie in registers.

erf and tanh beside a number that is not small: the argument's magnitude is cut into 32 steps; one instruction picks each
coefficient of a step's polynomial out of two registers (AVX-512's vpermi2ps). As a sum with 1.5 * 2^23 has the number of
the step in its low bits, nothing else is needed to find it. The polynomials are Chebyshev interpolants, fitted when the
module is loaded; they are of the argument itself: of its distance from a step's middle they would take two more
instructions, and steps are not so many that they would be more exact.

exp of what is at most 0: with x = n ln(2)/16 + r, it is 2^(n/16) times a polynomial of r; the sixteenth is picked, and what
is left of n added to its exponent (P. T. P. Tang, "Table-driven implementation of the exponential function", 1989).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.ir.expr import Expr
from sparsec.passes.math.exponential import LEAST_EXPONENT, ROUNDER

LANES = 16
STEPS = 2 * LANES
_PICK = "llvm.x86.avx512.vpermi2var.ps.512"
_PICK_OF_ONE = "llvm.x86.avx512.permvar.sf.512"
ROUNDED = 2.0**-10  # how exact a number is that is rounded to a whole one
_RANGE, _SMALLER_SIZE, _CURRENT_ROUNDING = "llvm.x86.avx512.mask.range.ps.512", 0b1010, 4
_SIGN = 0x80000000
_PLACES = 19  # from the last bit of a number of 1/16 to that of the exponent

Tables = tuple[tuple[float, ...], ...]  # of coefficients, constant terms first


@dataclass(frozen=True, slots=True)
class OddFunction:
    """An odd function that is 1 in the last step, to within its error, and beyond; its steps are `step` wide."""

    function: Callable[[float], float]
    step: float
    degree: int


FUNCTIONS = {
    "math.erf": OddFunction(math.erf, 1 / 8, 3),  # to 4e-7
    "math.tanh": OddFunction(math.tanh, 9 / 32, 4),  # to 6e-7
}


def exp_falling(x: Expr, *, rounded: bool = False) -> Expr:
    """e^x of x <= 0, or 0 where that is below 2.5e-38: to 2 ulp, and another for every 2^-31 that it is below 1.

    If it is `rounded` to bfloat16 then, to 2^-12: a straight line in each sixteenth.
    """
    place = x * (LANES / math.log(2)) + ROUNDER
    rest = x - (place - ROUNDER) * (math.log(2) / LANES)
    numbers = place.bits()
    sixteenth = x.builder.intrinsic(_PICK_OF_ONE, x.kind, x.builder.lanes(_sixteenths(), x.kind), numbers)
    scale = ((numbers << _PLACES) + sixteenth.bits()).as_float()
    result = rest * scale + scale if rounded else rest.horner((1.0, 1.0, 1 / 2, 1 / 6)) * scale
    return x.builder.choose(x < LEAST_EXPONENT, 0.0, result)


@cache
def _sixteenths() -> tuple[float, ...]:
    """The bits of 2^(i/16), less what i adds to them where the number of the step is added to the exponent."""
    numbers = np.arange(LANES, dtype=np.int32)
    bits = np.exp2(numbers / LANES).astype(np.float32).view(np.int32) - (numbers << _PLACES)
    return tuple(float(each) for each in bits.view(np.float32))


def is_covered(type_: ir.Type) -> bool:
    """Whether numbers of this type fill a register."""
    return str(type_) == f"vector<{LANES}xf32>"


def odd(name: str, x: Expr, factor: float = 1.0, times: float = 1.0, *, keeps_nan: bool = True) -> Expr:
    """`times` the function of `factor` * x, both > 0; -0 is -0, and NaN stays NaN, if it is to."""
    step = _step(name, factor)
    most = (STEPS - 1) * step
    bounded = x.abs().at_most(most) if keeps_nan else _smaller_size(x, most)
    result = _polynomial(_tables(name, step, factor, times), bounded, step)
    return (result.bits() | (x.bits() & _SIGN)).as_float()


def closing(name: str, x: Expr, factor: float, times: float) -> Expr:
    """`times` x (1 + the function of `factor` * x), to within `ROUNDED`; both > 0. Of minus infinity it is 0.

    That is 2 times max(x, 0), which waits for no table, and an even function.
    """
    step = _step(name, factor)
    size, rising = _smaller_size(x, (STEPS - 1) * step), x.builder.choose(x < 0.0, 0.0, x) * (2 * times)
    return _polynomial(_closing_tables(name, step, factor, times), size, step, rising)


def _step(name: str, factor: float) -> float:
    """How wide a step is, of an argument that is to be multiplied by the factor."""
    return float(np.float32(FUNCTIONS[name].step / factor))


def _polynomial(tables: Tables, size: Expr, step: float, summand: Expr | None = None) -> Expr:
    """The polynomial of the step that each lane is in, and a summand."""
    numbers = (size * (1 / step) + ROUNDER).bits()
    constants, *others = tables
    result = _pick(others.pop(), numbers, size)
    for table in reversed(others):
        result = result * size + _pick(table, numbers, size)
    constant = _pick(constants, numbers, size)
    return result * size + (constant if summand is None else summand + constant)


def _smaller_size(x: Expr, most: float) -> Expr:
    """|x|, or `most` if that is less or x is NaN: one instruction."""
    build = x.builder
    how, everywhere, mode = (
        build.constant(number, build.kind(ir.Type.parse(name, x.kind.type.context)))
        for number, name in ((_SMALLER_SIZE, "i32"), (-1, "i16"), (_CURRENT_ROUNDING, "i32"))
    )
    return build.intrinsic(_RANGE, x.kind, x, build.constant(most, x.kind), how, x, everywhere, mode)


def _pick(table: tuple[float, ...], numbers: Expr, like: Expr) -> Expr:
    """Entry number % STEPS of a table in each lane."""
    low, high = (like.builder.lanes(half, like.kind) for half in (table[:LANES], table[LANES:]))
    return like.builder.intrinsic(_PICK, like.kind, low, numbers, high)


@cache
def _tables(name: str, step: float, factor: float, times: float) -> Tables:
    """Of `times` the function of `factor` times a number."""
    function = FUNCTIONS[name]
    rows = _fitted(lambda x: times * function.function(factor * x), step, function.degree)
    rows[0, ::2] = 0  # an odd function in the middle
    rows[-1, 0] = times
    return _as_tables(rows)


@cache
def _closing_tables(name: str, step: float, factor: float, times: float) -> Tables:
    """Of what `closing` adds to the larger of x and 0, of the lowest degree that will do."""
    function = FUNCTIONS[name]

    def rest(size: float) -> float:
        return times * size * (function.function(factor * size) - 1)

    places = np.linspace(0, (STEPS - 1.5) * step, 16 * STEPS)
    numbers, exact = np.rint(places / step).astype(int), np.array([rest(place) for place in places])
    for degree in range(1, function.degree):
        rows = _fitted(rest, step, degree)
        found = (rows[numbers] * np.vander(places, degree + 1, increasing=True)).sum(axis=1)
        if np.abs(found - exact).max() <= ROUNDED:
            return _as_tables(rows)
    return _as_tables(_fitted(rest, step, function.degree))


def _fitted(function: Callable[[float], float], step: float, degree: int) -> NDArray[np.float64]:
    """Coefficients of each step's polynomial of the argument, constant term first; of the last step, zeros."""
    powers = np.arange(degree + 1)
    nodes = np.cos(np.pi * (powers + 0.5) / len(powers))  # of Chebyshev, in steps from -1 to 1
    rows = np.zeros((STEPS, len(powers)))
    for number in range(STEPS - 1):
        places = (number + nodes / 2) * step
        values = [function(place) for place in places]
        rows[number] = np.linalg.solve(np.vander(places, increasing=True), values)
    return rows


def _as_tables(rows: NDArray[np.float64]) -> Tables:
    """For each power of the argument its coefficient in every step."""
    return tuple(tuple(float(each) for each in column) for column in rows.T.astype(np.float32))
