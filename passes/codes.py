"""Reading codes of 8 bit off bodies of scalar ops: `low … high` of a number that is rounded and moved by a zero point."""

from __future__ import annotations

from dataclasses import dataclass

from torch_mlir import ir
from torch_mlir.dialects import arith

ULT, UGT = arith.CmpFPredicate.ULT, arith.CmpFPredicate.UGT  # true on NaN
_REACH = 255  # from the least code to the greatest, at most


@dataclass(frozen=True, slots=True)
class Code:
    """`cast(clamp(roundeven(value) + zero, low, high))`: bounds are whole numbers, at most 255 apart.

    `zero` is 0.0 if nothing is added. NaN becomes `low`. `chain` are its ops from the rounding to `cast`, which makes the i8.
    """

    value: ir.Value
    zero: float
    low: float
    high: float
    chain: tuple[ir.Operation, ...]

    @property
    def cast(self) -> ir.Operation:
        return self.chain[-1]

    @property
    def private(self) -> bool:
        """Whether nothing but the code itself is read of the chain."""
        inside = set(self.chain)
        return all(use.owner.operation in inside for op in self.chain[:-1] for use in op.results[0].uses)


def code_of(cast: ir.Operation) -> Code | None:
    """The code that `cast`, an `arith.trunci`, makes; None if it is something else."""
    if cast.name != "arith.trunci" or str(cast.results[0].type) != "i8":
        return None
    whole = operation(cast.operands[0], "arith.fptosi")
    if whole is None or str(whole.results[0].type) != "i32" or str(whole.operands[0].type) != "f32":
        return None
    above = _clamp(whole.operands[0], UGT)
    below = _clamp(above[2], ULT) if above is not None else None
    if above is None or below is None or not (below[1].is_integer() and above[1].is_integer()):
        return None
    if not 0 <= above[1] - below[1] <= _REACH:
        return None
    moved, zero = operation(below[2], "arith.addf"), 0.0
    if moved is not None:
        known = constant(moved.operands[1])
        if known is None or not known.is_integer():
            return None
        zero = known
    rounded = operation(moved.operands[0] if moved is not None else below[2], "math.roundeven")
    if rounded is None:
        return None
    chain = (rounded, *((moved,) if moved is not None else ()), *below[0], *above[0], whole, cast)
    return Code(rounded.operands[0], zero, below[1], above[1], chain)


def clamped(value: ir.Value, low: float, high: float) -> ir.Value:
    """`value`, at least `low` and at most `high`; NaN becomes `low`."""
    for predicate, number in ((ULT, low), (UGT, high)):
        bound = arith.constant(value.type, float(number))
        value = arith.select(arith.cmpf(predicate, value, bound), bound, value)
    return value


def operation(value: ir.Value, name: str) -> ir.Operation | None:
    """The op of `value` if it is a `name`."""
    if isinstance(value.owner, ir.Block) or value.owner.operation.name != name:
        return None
    return value.owner.operation


def constant(value: ir.Value) -> float | None:
    """The number that `value` is known to be."""
    op = operation(value, "arith.constant")
    attribute = op.attributes["value"] if op is not None else None
    return float(attribute.value) if isinstance(attribute, ir.FloatAttr) else None


def _clamp(
    value: ir.Value, predicate: arith.CmpFPredicate
) -> tuple[tuple[ir.Operation, ir.Operation], float, ir.Value] | None:
    """The ops, the bound and x of `select(x predicate bound, bound, x)`."""
    select = operation(value, "arith.select")
    bound = constant(select.operands[1]) if select is not None else None
    compare = operation(select.operands[0], "arith.cmpf") if select is not None else None
    if select is None or compare is None or bound is None:
        return None
    same = compare.operands[0] == select.operands[2] and constant(compare.operands[1]) == bound
    if not same or ir.IntegerAttr(compare.attributes["predicate"]).value != predicate:
        return None
    return (compare, select), bound, select.operands[2]
