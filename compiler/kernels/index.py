"""Positions and counts of a kernel that is being built: known now, or when it runs.

What is known folds; the rest becomes operations of `arith` at the current insertion point.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch_mlir import ir
from torch_mlir.dialects import arith, llvm

_UNSIGNED_LESS, _EQUAL = arith.CmpIPredicate.ult, arith.CmpIPredicate.eq


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """A non-negative position or count, known now (`known`) or when the kernel runs (`value`)."""

    known: int | None = None
    dynamic: ir.Value | None = None

    @property
    def value(self) -> ir.Value:
        """As an `index` value in the IR."""
        if self.dynamic is not None:
            return self.dynamic
        return arith.constant(ir.IndexType.get(), self.known)

    def __add__(self, other: IndexLike) -> Index:
        right = as_index(other)
        if self.known is not None and right.known is not None:
            return Index(self.known + right.known)
        if self.known == 0:
            return right
        return self if right.known == 0 else Index(dynamic=arith.addi(self.value, right.value))

    def __mul__(self, other: IndexLike) -> Index:
        right = as_index(other)
        if self.known is not None and right.known is not None:
            return Index(self.known * right.known)
        if self.known == 0 or right.known == 0:
            return Index(0)
        if self.known == 1:
            return right
        return self if right.known == 1 else Index(dynamic=arith.muli(self.value, right.value))

    def __sub__(self, other: IndexLike) -> Index:
        """May wrap round at run time; compare with `<`, which is unsigned."""
        right = as_index(other)
        if self.known is not None and right.known is not None:
            return Index(self.known - right.known)
        return self if right.known == 0 else Index(dynamic=arith.subi(self.value, right.value))

    def __floordiv__(self, other: IndexLike) -> Index:
        right = as_index(other)
        if self.known is not None and right.known is not None:
            return Index(self.known // right.known)
        return self if right.known == 1 else Index(dynamic=arith.divui(self.value, right.value))

    def __mod__(self, other: IndexLike) -> Index:
        right = as_index(other)
        if self.known is not None and right.known is not None:
            return Index(self.known % right.known)
        return Index(0) if right.known == 1 else Index(dynamic=arith.remui(self.value, right.value))

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: IndexLike) -> Index:
        return as_index(other) - self

    def __lt__(self, other: IndexLike) -> ir.Value:
        return arith.cmpi(_UNSIGNED_LESS, self.value, as_index(other).value)

    def equals(self, other: IndexLike) -> ir.Value:
        """The i1 value of `self == other`."""
        return arith.cmpi(_EQUAL, self.value, as_index(other).value)


IndexLike = Index | int


def as_index(value: IndexLike) -> Index:
    """A number as a position."""
    return value if isinstance(value, Index) else Index(value)


def minimum(left: IndexLike, right: IndexLike) -> Index:
    """The smaller of two, unsigned."""
    a, b = as_index(left), as_index(right)
    if a.known is not None and b.known is not None:
        return Index(min(a.known, b.known))
    return Index(dynamic=arith.minui(a.value, b.value))


def hidden(index: Index) -> Index:
    """The same position, of which compilers see nothing: what is added to it is not joined with what it is made of."""
    number = ir.IntegerType.get_signless(64)
    given = arith.index_castui(number, index.value)
    same = llvm.inline_asm(number, [given], "", "=r,0", asm_dialect=ir.IntegerAttr.get(number, 0))
    return Index(dynamic=arith.index_castui(ir.IndexType.get(), same))


def pick(condition: ir.Value, then: IndexLike, otherwise: IndexLike) -> Index:
    """`then` if the i1 `condition` holds, else `otherwise`."""
    return Index(dynamic=arith.select(condition, as_index(then).value, as_index(otherwise).value))
