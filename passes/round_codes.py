"""round_codes: a code of 8 bit is clamped before it is rounded, and gets its zero point as a whole number.

Before (%q is %x / 0.5, as `relax_math` computes it: a product, two corrections, and a choice for infinities):
    %r = math.roundeven %q   %a = arith.addf %r, 3.0   (clamped to 0.0 … 255.0)
    %i = arith.fptosi ... : f32 to i32   %y = arith.trunci %i : i32 to i8
After:
    (%x clamped to -1.5 … 126.0)   %r = math.roundeven %q'   %i = arith.fptosi %r : f32 to i32
    %a = arith.addi %i, 3   %y = arith.trunci %a : i32 to i8

Bounds are whole numbers, so clamping and rounding commute. Rounding and conversion are one instruction then (see
`round_to_integers`), bounds other than zero are one instruction each, and what is clamped needs no choice for infinities, nor
a ReLU where the zero point is the least code, nor a clip to what lies beyond the greatest. That codes are bytes without a sign
is said by the conversion (nuw).

A quotient that is rounded to a code need not be exact, but right at the steps between codes: there a reciprocal in two floats
is tried, of which all codes follow, as both are monotonic. It takes a correction less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith
from torch_mlir.dialects import math as mlir_math

from sparsec.ir.module import block_walk, find
from sparsec.passes.codes import Code, clamped, code_of, constant, operation
from sparsec.passes.evaluate import fused_multiply_add
from sparsec.passes.unit import Unit

_BELOW_ZERO = -0.25  # rounds to 0; a bound of 0 itself takes longer, as -0 is to stay -0
_UNSIGNED = arith.IntegerOverflowFlags.nuw  # of a conversion: all bits that it drops are 0
_NEAR = 8  # units in the last place around a step between codes
_MOST_ZERO = 255  # whole numbers of this size are exact however they are computed


def round_codes(unit: Unit) -> None:
    """Rewrite every code in the bodies of generics whose steps nothing else reads."""
    with unit.module.context, ir.Location.unknown():
        for generic in find(unit.module, lambda op: op.name == "linalg.generic"):
            for cast in [op for op in block_walk(generic) if op.name == "arith.trunci"]:
                code = code_of(cast)
                if code is not None and code.private and abs(code.zero) <= _MOST_ZERO:
                    _rewrite(code)


def _rewrite(code: Code) -> None:
    low, high = code.low - code.zero, code.high - code.zero
    quotient = _quotient(code.value)
    bounds = quotient.bounds(low, high) if quotient is not None else None
    with code.cast.location, ir.InsertionPoint(code.cast):
        if quotient is not None and bounds is not None:
            value = quotient.of(clamped(_unclipped(quotient.x, low, bounds[1]), *bounds), low, high)
        else:
            value = clamped(code.value, low or _BELOW_ZERO, high or -_BELOW_ZERO)
        whole = arith.fptosi(ir.IntegerType.get_signless(32), mlir_math.roundeven(value))
        if code.zero:
            whole = arith.addi(whole, arith.constant(whole.type, int(code.zero)))
        result = arith.trunci(code.cast.results[0].type, whole, overflow_flags=_UNSIGNED if code.low >= 0 else None)
    code.cast.results[0].replace_all_uses_with(result)
    for op in reversed(code.chain):
        op.erase()
    if quotient is not None and bounds is not None:
        for op in reversed(quotient.ops):
            if not any(True for _ in op.results[0].uses):
                op.erase()


@dataclass(frozen=True, slots=True)
class _Quotient:
    """x / divisor as `relax_math` writes it; its `ops` in order."""

    x: ir.Value
    divisor: np.float32
    ops: tuple[ir.Operation, ...]

    @property
    def reciprocal(self) -> np.float32:
        return np.float32(1) / self.divisor

    def bounds(self, low: float, high: float) -> tuple[float, float] | None:
        """What x is to be clamped to so that its rounded quotient is from `low` to `high`."""
        found = []
        for bound in (low or _BELOW_ZERO, high or -_BELOW_ZERO):
            with np.errstate(over="ignore", under="ignore"):
                x = np.float32(bound) * self.divisor
                quotient = x * self.reciprocal
                error = fused_multiply_add(-quotient, self.divisor, x)
                rounded = np.rint(fused_multiply_add(error, self.reciprocal, quotient))
            if rounded != np.rint(bound) or not np.isfinite(x) or abs(x) < np.finfo(np.float32).tiny:
                return None
            found.append(float(x))
        return found[0], found[1]

    @property
    def rest(self) -> np.float32:
        """What the reciprocal lacks."""
        return np.float32(1 / np.float64(self.divisor) - np.float64(self.reciprocal))

    def steps(self, low: float, high: float) -> bool:
        """Whether x * rest + x * reciprocal, each rounded once, makes all codes from `low` to `high` as the quotient does.

        Both grow with x (a step of x by a unit in its last place adds more to the second product than rounding takes from the
        first), so they are equal where each steps from one code to the next between the same two floats.
        """
        codes = np.arange(low + 1, high + 1)
        x = ((codes - 0.5) * np.float64(self.divisor)).astype(np.float32)
        near = (x.view(np.int32)[:, None] + np.arange(-_NEAR, _NEAR + 1, dtype=np.int32)).view(np.float32)
        exact = np.rint(near / self.divisor)
        found = np.rint(fused_multiply_add(near, self.reciprocal, near * self.rest))
        crossed = np.sort(exact[:, [0, -1]], axis=1) == np.stack([codes - 1, codes], axis=1)
        return bool(crossed.all() and (exact == found).all())

    def of(self, x: ir.Value, low: float, high: float) -> ir.Value:
        """A number that is rounded as the quotient of `x` is, which is finite and makes codes from `low` to `high`."""
        reciprocal = arith.constant(x.type, float(self.reciprocal))
        if self.steps(low, high):
            if not self.rest:
                return arith.mulf(x, reciprocal)
            rest = arith.constant(x.type, float(self.rest))
            return mlir_math.fma(x, reciprocal, arith.mulf(x, rest))
        divisor = arith.constant(x.type, float(self.divisor))
        quotient = arith.mulf(x, reciprocal)
        error = mlir_math.fma(arith.negf(quotient), divisor, x)
        return mlir_math.fma(error, reciprocal, quotient)


def _unclipped(x: ir.Value, low: float, bound: float) -> ir.Value:
    """`x` before it was clipped, if no code is lost by that: from above to `bound` or more, from below to 0 where `low` is 0."""
    while (found := _clip(x)) is not None:
        number, before, above = found
        if not (number >= bound if above else number == low == 0):
            break
        x = before
    return x


def _clip(value: ir.Value) -> tuple[float, ir.Value, bool] | None:
    """(c, x, whether from above) if `value` is x clipped to c; NaN stays NaN, or becomes 0 in the maximum with it."""
    select = operation(value, "arith.select")
    compare = operation(select.operands[0], "arith.cmpf") if select is not None else None
    if select is None or compare is None:
        return None
    predicate = ir.IntegerAttr(compare.attributes["predicate"]).value
    x, number = list(compare.operands)
    c = constant(number)
    if c is None:
        return None
    if list(select.operands)[1:] == [x, number] and predicate == arith.CmpFPredicate.UGT:
        return c, x, False
    if list(select.operands)[1:] == [number, x] and predicate in (arith.CmpFPredicate.OLT, arith.CmpFPredicate.OGT):
        return c, x, predicate == arith.CmpFPredicate.OGT
    return None


def _quotient(value: ir.Value) -> _Quotient | None:
    """The quotient that `value` is: select(ordered(better), better, q), better = fma(fma(-q, c, x), r, q), q = x * r."""
    select = operation(value, "arith.select")
    better = operation(select.operands[1], "math.fma") if select is not None else None
    finite = operation(select.operands[0], "arith.cmpf") if select is not None else None
    quotient = operation(select.operands[2], "arith.mulf") if select is not None else None
    error = operation(better.operands[0], "math.fma") if better is not None else None
    negated = operation(error.operands[0], "arith.negf") if error is not None else None
    ops = (quotient, negated, error, better, finite, select)
    if select is None or better is None or finite is None or quotient is None or error is None or negated is None:
        return None
    divisor, reciprocal = constant(error.operands[1]), constant(quotient.operands[1])
    x = quotient.operands[0]
    fits = (
        ir.IntegerAttr(finite.attributes["predicate"]).value == arith.CmpFPredicate.ORD
        and list(finite.operands) == [better.results[0]] * 2
        and list(better.operands)[1:] == [quotient.operands[1], quotient.results[0]]
        and negated.operands[0] == quotient.results[0]
        and error.operands[2] == x
    )
    if not fits or divisor is None or divisor <= 0 or reciprocal is None:
        return None
    found = _Quotient(x, np.float32(divisor), tuple(op for op in ops if op is not None))
    return found if np.float32(reciprocal) == found.reciprocal else None
