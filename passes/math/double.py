"""pow, cbrt and the hyperbolic functions of f32, computed in f64, where short formulas are accurate as they stand.

They come from two f64 polynomials (2^x and log2; our own minimax fits by Lawson's method) that leave about 2^-40: the
result is nearly always the correctly rounded one. A vector of f64 holds half as many elements, so this costs two to
four times an f32 form.
"""

from __future__ import annotations

import math

from sparsec.ir.expr import Expr

ROUNDER = 1.5 * 2.0**52  # adding it rounds an f64 below 2**51 to an integer, which the sum's low bits then hold
SQRT_HALF_HIGH = 0x3FE6A09E  # the upper half of the bits of sqrt(1/2)
TINY = 2.0**-12  # an odd function with derivative 1 at 0 is x below this, to 2^-25
# 2^x on |x| <= 1/2: 2^-40
EXP2 = (
    1.0000000000000266,
    0.6931471805459121,
    0.2402265069546762,
    0.05550410941296033,
    0.009618129228549162,
    0.0013333450480378173,
    0.00015403411588674887,
    1.5310102874181847e-05,
    1.3264077719741906e-06,
)
# log2((1 + s) / (1 - s)) / s in s^2 for (1 + s) / (1 - s) in sqrt(1/2) .. sqrt(2): 2^-45
LOG2 = (
    2.885390081777849,
    0.9617966941141609,
    0.5770779421230812,
    0.41220927686148795,
    0.31990469424078066,
    0.2829144623976621,
)


def widen(x: Expr) -> Expr:
    """x in f64."""
    return x.to("f64")


def exp2(x: Expr) -> Expr:
    """2^x in f64, for results that are rounded to f32: beyond its range, any number beyond its range."""
    x = x.at_least(-200.0).at_most(200.0)
    rounded = x + ROUNDER
    scale = ((rounded.bits() + 1023) << 52).as_float()
    return (x - (rounded - ROUNDER)).horner(EXP2) * scale


def log2(x: Expr) -> Expr:
    """log2(x) of an f64 x >= 0 that is 0, infinite, NaN or within about the square of f32's range."""
    bits = x.bits()
    high = (bits >> 32).to("i32")
    exponent = (high - SQRT_HALF_HIGH) >> 20
    mantissa = (bits - (exponent.to("i64") << 52)).as_float()
    s = (mantissa - 1.0) / (mantissa + 1.0)
    result = s * (s * s).horner(LOG2) + exponent.to("f64")
    choose = x.builder.choose
    return choose(x.equals(0.0), -math.inf, choose(x < math.inf, result, x))


def power(x: Expr, y: Expr) -> Expr:
    """x^y as in C (annex F): 1 for y = 0 or x = 1 whatever the other is, NaN for finite x < 0 with y not whole."""
    choose = x.builder.choose
    magnitude = x.abs()
    result = exp2(widen(y) * log2(widen(magnitude))).to("f32")
    half = y * 0.5
    whole = y.equals(y.round_even())
    result = choose(whole & half.differs(half.round_even()), result.copysign(x), result)
    result = choose(whole, result, choose((x < 0.0) & (x > -math.inf), math.nan, result))
    result = choose(magnitude.equals(1.0), choose(y.abs().equals(math.inf), 1.0, result), result)
    result = choose(x.equals(1.0), 1.0, result)
    return choose(y.equals(0.0), 1.0, result)


def cbrt(x: Expr) -> Expr:
    """The cube root."""
    return exp2(log2(widen(x.abs())) * (1.0 / 3.0)).to("f32").copysign(x)


def sinh(x: Expr) -> Expr:
    """The hyperbolic sine."""
    grown = exp2(widen(x.abs()) * math.log2(math.e))
    return _odd(x, (grown - 1.0 / grown) * 0.5)


def cosh(x: Expr) -> Expr:
    """The hyperbolic cosine."""
    grown = exp2(widen(x.abs()) * math.log2(math.e))
    return ((grown + 1.0 / grown) * 0.5).to("f32")


def asinh(x: Expr) -> Expr:
    """The inverse hyperbolic sine."""
    wide = widen(x.abs())
    return _odd(x, log2(wide + (wide * wide + 1.0).sqrt()) * math.log(2))


def acosh(x: Expr) -> Expr:
    """The inverse hyperbolic cosine; NaN below 1."""
    wide = widen(x)
    root = ((wide - 1.0) * (wide + 1.0)).sqrt()
    result = (log2(wide + root) * math.log(2)).to("f32")
    return x.builder.choose(x < 1.0, math.nan, result)


def atanh(x: Expr) -> Expr:
    """The inverse hyperbolic tangent; NaN outside [-1, 1]."""
    wide = widen(x.abs())
    result = _odd(x, log2((1.0 + wide) / (1.0 - wide)) * (0.5 * math.log(2)))
    return x.builder.choose(x.abs() > 1.0, math.nan, result)


def _odd(x: Expr, wide: Expr) -> Expr:
    """The odd function of x whose value at |x| is `wide`; x itself where |x| is tiny."""
    return x.builder.choose(x.abs() < TINY, x, wide.to("f32").copysign(x))
