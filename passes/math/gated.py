"""What tables of a function take in from around it: a factor of its argument, and those of the product that it is for.

Before (GELU, quantised):
    %s = mulf %x, c   %f = math.erf %s   %a = addf %f, 1   %p = mulf %x, %a   %h = mulf %p, 0.5   %q = divf %h, d
After, with a table of 0.5 / d erf(c x):
    %f = …            %a = addf %f, 0.5 / d                %q = mulf %x, %a

A gate that closes, as this one, is 1 / d max(x, 0) and an even function of x, whose table leaves out the product, the sum and
the sign. It is taken where only codes are made of it: of minus infinity it is 0, where the product is no number.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch_mlir import ir

from sparsec.ir.expr import Builder
from sparsec.passes.math.power import constant_number

_LEAST_FACTOR = 2.0**-16  # so that tables hold normal numbers


def factored(value: ir.Value) -> tuple[ir.Value, float]:
    """(x, c) if `value` is x times a constant c > 0, or may be computed so, else (value, 1)."""
    owner = value.owner
    found = _times_constant(owner.operation) if not isinstance(owner, ir.Block) else None
    return found if found is not None else (value, 1.0)


@dataclass(frozen=True, slots=True)
class Gate:
    """The `product` of a number and `sum`, which is a function's result and the constant `summand`; it may be times `factor`.

    `scaled` are the ops that do that now, each read by the next only.
    """

    sum: ir.Operation
    summand: float
    product: ir.Operation
    scaled: tuple[ir.Operation, ...]
    factor: float

    @classmethod
    def of(cls, function: ir.Operation) -> Gate | None:
        """The gate of a function's result; None if it has other readers."""
        total = _only_reader(function, "arith.addf")
        summands = [constant_number(operand) for operand in total.operands] if total is not None else []
        product = _only_reader(total, "arith.mulf") if total is not None else None
        if total is None or product is None or summands.count(None) != 1:
            return None
        scaled, factor, last = list[ir.Operation](), 1.0, product
        while (reader := _only_reader(last, "arith.mulf") or _only_reader(last, "arith.divf")) is not None:
            times = _times_constant(reader)
            if times is None or times[0] != last.results[0] or not _is_moderate(factor * times[1]):
                break
            scaled, factor, last = [*scaled, reader], factor * times[1], reader
        summand = next(number for number in summands if number is not None)
        return cls(total, summand, product, tuple(scaled), factor)

    def reads(self, x: ir.Value) -> bool:
        """Whether it is a product with `x`, so that it is NaN where x is."""
        return x in list(self.product.operands)

    def closes(self, x: ir.Value) -> bool:
        """Whether it is x times one and the function."""
        return self.summand == 1.0 and self.reads(x)

    def is_rounded(self) -> bool:
        """Whether whole numbers are made of the product, clamped perhaps, and nothing else."""
        return _is_rounded(self.product.results[0])

    def replace(self, product: ir.Value) -> None:
        """Let `product` stand for the product."""
        self.product.results[0].replace_all_uses_with(product)
        self.product.erase()
        self.sum.erase()

    def fold(self, builder: Builder) -> None:
        """Let the function's result count times `factor`, and leave out what computes that."""
        if not self.scaled:
            return
        at = next(n for n, operand in enumerate(self.sum.operands) if constant_number(operand) is not None)
        kind = builder.kind(self.sum.results[0].type)
        self.sum.operands[at] = builder.constant(self.summand * self.factor, kind).value
        self.scaled[-1].results[0].replace_all_uses_with(self.product.results[0])
        for op in reversed(self.scaled):
            op.erase()


def _is_rounded(value: ir.Value) -> bool:
    """Whether a number is only compared, chosen, and rounded."""
    readers = [use.owner.operation for use in value.uses]
    return bool(readers) and all(
        reader.name in ("arith.cmpf", "math.roundeven")
        or (reader.name == "arith.select" and _is_rounded(reader.result))
        for reader in readers
    )


def _only_reader(op: ir.Operation, name: str) -> ir.Operation | None:
    """The op that alone reads the result of `op`, once, if it is a `name`."""
    uses = list(op.results[0].uses)
    reader = uses[0].owner.operation if len(uses) == 1 else None
    return reader if reader is not None and reader.name == name else None


def _times_constant(op: ir.Operation) -> tuple[ir.Value, float] | None:
    """(x, c) if `op` is x times a constant c > 0 that is neither large nor small, or may be computed so."""
    if op.name not in ("arith.mulf", "arith.divf"):
        return None
    divides, number = op.name == "arith.divf", constant_number(op.operands[1])
    if number is None or not _is_moderate(number) or (divides and "arcp" not in str(op.attributes["fastmath"])):
        return None
    return op.operands[0], 1 / number if divides else number


def _is_moderate(factor: float) -> bool:
    return _LEAST_FACTOR <= factor <= 1 / _LEAST_FACTOR
