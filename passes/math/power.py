"""Powers that need square roots and products only."""

from __future__ import annotations

import math

from torch_mlir import ir

from sparsec.ir.expr import Expr

# Integers and halves for which roots and products stay within 4 ulp: -2.5 has 3.7, and larger exponents have more.
EXACT = frozenset(half / 2 for half in range(-6, 9))


def rsqrt(x: Expr) -> Expr:
    """1 / sqrt(x), each rounded."""
    return 1.0 / x.sqrt()


def constant_number(value: ir.Value) -> float | None:
    """The number that `value` is everywhere, if it is a constant."""
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.name != "arith.constant":
        return None
    attribute = owner.attributes["value"]
    if isinstance(attribute, ir.DenseElementsAttr) and attribute.is_splat:
        attribute = attribute.get_splat_value()
    return float(attribute.value) if isinstance(attribute, ir.FloatAttr | ir.IntegerAttr) else None


def by_constant(x: Expr, exponent: float) -> Expr:
    """x^exponent for an exponent in `EXACT`."""
    whole, half = divmod(abs(exponent), 1)
    product = _whole(1.0 / x if exponent < 0 else x, int(whole))
    if not half:
        return x.like(1.0) if product is None else product
    root = x.builder.choose(x.equals(-math.inf), math.inf, x.sqrt() + 0.0)  # as pow has it: -0 gives 0, -inf gives inf
    root = 1.0 / root if exponent < 0 else root
    return root if product is None else root * product.abs()


def _whole(x: Expr, exponent: int) -> Expr | None:
    """x^exponent by squaring; None for x^0."""
    result: Expr | None = None
    while exponent:
        if exponent & 1:
            result = x if result is None else result * x
        exponent >>= 1
        if exponent:
            x = x * x
    return result
