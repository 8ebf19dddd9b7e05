"""log, log2, log10 and log1p of f32.

The arrangement is that of Cephes logf: x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), then log(1 + f) = f -
f^2/2 + f^3 P(f), with ln 2 (or log10 2) in two parts. P is our own minimax fit (Lawson's method, rounded to f32
coefficients).
"""

from __future__ import annotations

import math

from sparsec.ir.expr import Expr
from sparsec.passes.math.exponential import LN2_HIGH, LN2_LOW

SQRT_HALF_BITS = 0x3F3504F3
SMALLEST_NORMAL = 2.0**-126
# (log(1 + f) - f + f^2/2) / f^3 on sqrt(1/2) - 1 .. sqrt(2) - 1: 2^-30 of f
LOG = (
    0.333333105,
    -0.249999866,
    0.200022295,
    -0.166692555,
    0.142185271,
    -0.123841278,
    0.118741073,
    -0.117919996,
    0.069151096,
)
LOG2_E_REST = math.log2(math.e) - 1.0
LOG10_E_HIGH, LOG10_E_LOW = 0.43359375, 7.00731903251827651129e-4
LOG10_2_HIGH, LOG10_2_LOW = 0.30078125, 2.48745663981195213739e-4


def log(x: Expr) -> Expr:
    """The natural logarithm."""
    f, e = _split(x)
    return _limits(x, (f + (_tail(f) + e * LN2_LOW)) + e * LN2_HIGH)


def log2(x: Expr) -> Expr:
    """The logarithm to base 2."""
    f, e = _split(x)
    tail = _tail(f)
    return _limits(x, f + (tail + (f + tail) * LOG2_E_REST) + e)


def log10(x: Expr) -> Expr:
    """The logarithm to base 10."""
    f, e = _split(x)
    tail = _tail(f)
    low = e * LOG10_2_LOW + (f + tail) * LOG10_E_LOW + tail * LOG10_E_HIGH
    return _limits(x, low + f * LOG10_E_HIGH + e * LOG10_2_HIGH)


def log1p(x: Expr) -> Expr:
    """log(1 + x), accurate near 0."""
    total = x + 1.0
    x_part = total - 1.0
    lost = (x - x_part) + (1.0 - (total - x_part))  # Knuth's two-sum: total + lost is 1 + x
    exponent, mantissa = _exponent(total)
    scale = (0x3F800000 - (exponent.minimum(126) << 23)).as_float()
    f = (mantissa - 1.0) + lost * scale
    e = exponent.to("f32")
    result = (f + (_tail(f) + e * LN2_LOW)) + e * LN2_HIGH
    return _limits(total, result).copysign(x)


def _split(x: Expr) -> tuple[Expr, Expr]:
    """(f, e), both f32, with x = 2^e (1 + f) for positive finite x; any number for other x."""
    subnormal = x < SMALLEST_NORMAL
    exponent, mantissa = _exponent(x.builder.choose(subnormal, x * 2.0**23, x))
    return mantissa - 1.0, exponent.to("f32") - x.builder.choose(subnormal, x.like(23.0), 0.0)


def _exponent(x: Expr) -> tuple[Expr, Expr]:
    """(e as i32, m) with x = 2^e m and m in [sqrt(1/2), sqrt(2))."""
    bits = x.bits()
    exponent = (bits - SQRT_HALF_BITS) >> 23
    return exponent, (bits - (exponent << 23)).as_float()


def _tail(f: Expr) -> Expr:
    """log(1 + f) - f."""
    square = f * f
    return f * square * f.horner(LOG) - 0.5 * square


def _limits(x: Expr, result: Expr) -> Expr:
    """`result`, but infinity and NaN as they are, -infinity at 0 and NaN below."""
    choose = x.builder.choose
    result = choose(x < math.inf, result, x)
    result = choose(x < 0.0, math.nan, result)
    return choose(x.equals(0.0), -math.inf, result)
