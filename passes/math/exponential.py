"""exp, exp2, expm1, tanh and erf of f32.

exp follows Cody & Waite, *Software Manual for the Elementary Functions* (1980), arranged as in Cephes expf: x = n ln
2 + r with ln 2 in two parts, a polynomial for e^r, then a scaling by 2^n. tanh is split as in Cephes tanhf. erf is
split as in N. Juffa's erff: a polynomial near 0, 1 - exp(polynomial) beyond. The polynomials are our own minimax fits
(Lawson's method; coefficients rounded to f32 one by one from the constant term, the rest fitted again); the comment
on each says what is approximated, where, and the largest error.
"""

from __future__ import annotations

import math

from sparsec.ir.expr import Expr

LOG2_E = 1.44269504
LN2_HIGH = 0.693359375  # 10 bits: n * LN2_HIGH is exact
LN2_LOW = -2.12194440e-4
LEAST_EXPONENT = -86.5  # of e: a normal number, in two factors as well
ROUNDER = 12582912.0  # 1.5 * 2**23: adding it rounds an f32 to an integer, which the low bits of the sum then hold

# (e^r - 1 - r) / r^2 on |r| <= ln(2)/2: 2^-31 of r
EXP = (0.5, 0.166666672, 0.0416664891, 0.00833320804, 0.00139326858, 0.000199442555)
# The same: 2^-28 of 1
EXP_SHORT = (0.5, 0.166665196, 0.0416664034, 0.0083688302, 0.00139405602)
# (tanh(x) - x) / x^3 in x^2 on |x| <= 0.625: 2^-32 of x
TANH = (-0.333333313, 0.133332223, -0.053948462, 0.0217087492, -0.00819508638, 0.00215763575)
# erf(x) / x - 1 in x^2 on |x| <= 0.93: 2^-26
ERF_NEAR = (0.128379151, -0.376124978, 0.112818271, -0.0267662313, 0.00499176187, -0.000598021375)
# erf(x) / x in 2 x^2 / 3.7^2 - 1 on |x| <= 3.7: 2^-22.7 of 1 in the result; plus 6e-7 (x / 3.7)^26 / 3.7, so that it ends above 1
ERF_WHOLE = (
    *(0.38213754, -0.19046773, 0.14078954, -0.11264556, 0.0906249, -0.07043661, 0.051475387),
    *(-0.036200225, 0.025146175, -0.014151675, 0.0052232295, -0.0036473467, 0.003927413, -0.001504672),
)
ERF_ONE = 3.7  # from here on erf is 1
# -log(1 - erf(x)) / x - 1 in x on 0.92 .. 4: 2^-28 of 1 in the result
ERF_FAR = (0.128510758, 0.635730922, 0.105244704, -0.0228786599, 0.00321134087, -0.000213536725)


def exp(x: Expr) -> Expr:
    """e^x."""
    x = x.at_least(-104.0).at_most(89.0)  # beyond: 0 and infinity, by underflow and overflow of the scaling
    rounded, n = _round(x * LOG2_E, bias=254)
    return _scale(_exp_reduced(_reduce(x, n)), rounded)


def exp_falling(x: Expr) -> Expr:
    """e^x of x <= 0, or 0 where that is below 2.5e-38: no product underflows, which takes processors many times as long.

    One multiple of ln 2, rounded, is taken off: results r are right to 2 ulp and another for every 2^-31 below 1.
    """
    rounded, n = _round(x * LOG2_E, bias=127)
    power = (x - n * math.log(2)).horner((1.0, 1.0, *EXP_SHORT)) * (rounded.bits() << 23).as_float()
    return x.builder.choose(x < LEAST_EXPONENT, 0.0, power)


def exp2(x: Expr) -> Expr:
    """2^x."""
    x = x.at_least(-151.0).at_most(129.0)
    rounded, n = _round(x, bias=254)
    return _scale(_exp_reduced((x - n) * math.log(2)), rounded)


def expm1(x: Expr) -> Expr:
    """e^x - 1, accurate near 0."""
    clamped = x.at_least(-18.0).at_most(89.0)
    rounded, n = _round(clamped * LOG2_E, bias=126)
    high = clamped - n * LN2_HIGH
    r = high - n * LN2_LOW
    half = (rounded.bits() << 23).as_float()  # 2^(n-1), because 2^n overflows for the last n
    tail = r * r * r.horner(EXP) - n * LN2_LOW
    result = half * high + (half - 0.5) + half * tail
    return (result + result).copysign(x)  # -0 stays -0


def tanh(x: Expr) -> Expr:
    """The hyperbolic tangent."""
    magnitude = x.abs()
    square = x * x
    near = magnitude + magnitude * square * square.horner(TANH)
    far = 1.0 - 2.0 / (_exp_bounded((magnitude + magnitude).at_most(20.0)) + 1.0)
    return x.builder.choose(magnitude < 0.625, near, far).copysign(x)


def erf(x: Expr) -> Expr:
    """The error function."""
    magnitude = x.abs()
    square = x * x
    near = magnitude + magnitude * square.horner(ERF_NEAR)
    bounded = magnitude.at_most(4.0)
    far = 1.0 - _exp_bounded(-(bounded + bounded * bounded.horner(ERF_FAR)))
    return x.builder.choose(magnitude < 0.927734375, near, far).copysign(x)


def erf_beside_one(x: Expr) -> Expr:
    """The error function to within 6e-7, whatever its size, and 1 where it is: for sums with a number that is not small."""
    bounded = x.at_least(-ERF_ONE).at_most(ERF_ONE)
    place = bounded * bounded * (2 / ERF_ONE**2) - 1.0
    square = place * place  # two short chains of multiply-adds instead of a long one
    ratio = square.horner(ERF_WHOLE[1::2]) * place + square.horner(ERF_WHOLE[::2])
    return (bounded * ratio).at_least(-1.0).at_most(1.0)


def _round(x: Expr, *, bias: int) -> tuple[Expr, Expr]:
    """(s, n): n is x rounded to an integer, and the low bits of s hold n + bias (no conversion: NaN stays harmless)."""
    rounded = x + (ROUNDER + bias)
    return rounded, rounded - (ROUNDER + bias)


def _reduce(x: Expr, n: Expr) -> Expr:
    """x - n ln 2."""
    return (x - n * LN2_HIGH) - n * LN2_LOW


def _exp_reduced(r: Expr) -> Expr:
    """e^r for |r| <= ln(2)/2."""
    return r * r * r.horner(EXP_SHORT) + r + 1.0


def _exp_bounded(x: Expr) -> Expr:
    """e^x for |x| <= 87, where one scaling is enough."""
    rounded, n = _round(x * LOG2_E, bias=127)
    return _exp_reduced(_reduce(x, n)) * (rounded.bits() << 23).as_float()


def _scale(x: Expr, rounded: Expr) -> Expr:
    """x * 2^n, where `rounded` holds n + 254: by two factors, so subnormals round once and overflow is infinity."""
    exponent = rounded.bits()
    half = (exponent << 22) & 0x7F800000  # the bits of 2^floor(n/2)
    return x * half.as_float() * ((exponent << 23) - half).as_float()
