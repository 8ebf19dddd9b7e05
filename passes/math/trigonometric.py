"""sin, cos, tan and their inverses of f32.

sin, cos and tan reduce every finite argument: 1/(2 pi) is cut into pieces of 29 bits, so the product of each with a
24-bit argument is exact in f64, and only its fraction is kept (the idea of Payne & Hanek, SIGNUM Newsletter 18, 1983,
without the table look-up). The inverses are one f64 arctangent. The polynomials are our own minimax fits (Lawson's
method).
"""

from __future__ import annotations

import math

from sparsec.ir.expr import Expr
from sparsec.passes.math.double import ROUNDER, widen

TURNS = tuple(
    float.fromhex(piece)  # their sum is 1/(2 pi), to 2^-205
    for piece in (
        "0x1.45f306cp-3",
        "0x1.c9c882ap-31",
        "0x1.4fe13a8p-61",
        "0x1.f47d4d3p-88",
        "0x1.dc0db62p-118",
        "0x1.2b32788p-147",
        "0x1.c820ff0p-177",
    )
)
# (sin(x) - x) / x^3 and (cos(x) - 1 + x^2/2) / x^4 in x^2 on |x| <= pi/4: 2^-28 of x and 2^-33
SIN = (-0.166666552, 0.00833219104, -0.000195186149)
COS = (0.0416666456, -0.00138873013, 2.44306684e-05)
# atan(s) / s in s^2 for |s| <= tan(pi/8): 2^-40
ATAN = (
    0.9999999999992948,
    -0.3333333327975486,
    0.1999999331603086,
    -0.14285395682459667,
    0.1110360818300797,
    -0.08993840279038101,
    0.06979632038706751,
    -0.03774524863450299,
)


def sin(x: Expr) -> Expr:
    """The sine, for every finite x."""
    r, quadrant = _reduce(x)
    sine, cosine = _sin_cos(r.to("f32"))
    result = x.builder.choose((quadrant & 1).equals(1), cosine, sine)
    return _negate(result, (quadrant << 30) ^ x.bits())


def cos(x: Expr) -> Expr:
    """The cosine, for every finite x."""
    r, quadrant = _reduce(x)
    sine, cosine = _sin_cos(r.to("f32"))
    result = x.builder.choose((quadrant & 1).equals(1), sine, cosine)
    return _negate(result, (quadrant + 1) << 30)


def tan(x: Expr) -> Expr:
    """The tangent, for every finite x."""
    r, quadrant = _reduce(x)
    sine, cosine = _sin_cos(r)  # in f64: the errors of two f32 values and a quotient would add up to more than 2 ulp
    choose, odd = x.builder.choose, (quadrant & 1).equals(1)
    result = choose(odd, cosine, sine) / choose(odd, sine, cosine)
    return _negate(result.to("f32"), (quadrant << 31) ^ x.bits())


def atan(x: Expr) -> Expr:
    """The arctangent."""
    wide = widen(x)
    return _angle(wide, wide.like(1.0)).to("f32")


def atan2(y: Expr, x: Expr) -> Expr:
    """The angle of the point (x, y), in -pi .. pi; zeros and infinities as in C (annex F)."""
    return _angle(widen(y), widen(x)).to("f32")


def asin(x: Expr) -> Expr:
    """The arcsine; NaN outside [-1, 1]."""
    wide = widen(x)
    return _angle(wide, (1.0 - wide * wide).sqrt()).to("f32")


def acos(x: Expr) -> Expr:
    """The arccosine; NaN outside [-1, 1]."""
    wide = widen(x)
    return _angle((1.0 - wide * wide).sqrt(), wide).to("f32")


def _reduce(x: Expr) -> tuple[Expr, Expr]:
    """(r as f64 in -pi/4 .. pi/4, q as i32) with |x| = r + q pi/2, q known modulo 4."""
    wide = widen(x.abs())
    turns = wide.like(0.0)
    for piece in reversed(TURNS):
        product = wide * piece
        turns = turns + (product - product.round_even())
    quarters = turns * 4.0
    rounded = quarters + ROUNDER
    quadrant = rounded.bits().to("i32")
    return (quarters - (rounded - ROUNDER)) * (math.pi / 2), quadrant


def _sin_cos(r: Expr) -> tuple[Expr, Expr]:
    """The sine and cosine of r in -pi/4 .. pi/4."""
    square = r * r
    sine = r + r * square * square.horner(SIN)
    cosine = 1.0 - 0.5 * square + square * square * square.horner(COS)
    return sine, cosine


def _negate(x: Expr, sign: Expr) -> Expr:
    """x, negated where the top bit of `sign` (i32) is set."""
    return (x.bits() ^ (sign & 0x80000000)).as_float()


def _angle(y: Expr, x: Expr) -> Expr:
    """atan2 in f64."""
    choose = x.builder.choose
    down, along = y.abs(), x.abs()
    steep = down > along
    low = choose(steep, along, down).at_most(2.0**400)  # infinities become comparable, and the quotient stays 0 in f32
    high = choose(steep, down, along).at_most(2.0**400).at_least(2.0**-300)  # 0 / 0 becomes 0
    far = low > high * math.tan(math.pi / 8)
    s = choose(far, low - high, low) / choose(far, low + high, high)
    angle = s * (s * s).horner(ATAN) + choose(far, s.like(math.pi / 4), 0.0)
    angle = choose(steep, math.pi / 2 - angle, angle)
    return choose(x.bits() < 0, math.pi - angle, angle).copysign(y)
