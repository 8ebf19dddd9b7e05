"""Columns of a few elements of some rows, by interleaving: what transposes tokens on their way in and out."""

from __future__ import annotations

from collections.abc import Sequence

from torch_mlir import ir

from sparsec.kernels.emit import joined, shuffle

QUAD = 4  # elements of a row that are loaded at once for a transposition


def columns(lines: Sequence[ir.Value], count: int) -> list[ir.Value]:
    """The columns of rows of `count` <= QUAD elements: `count` vectors with an element of every row.

    Rows, which are loaded as they are, are put side by side and then turned inside their quarters, by interleaving: half the
    shuffles of a transposition of whole vectors, and those that x86 has most units for.
    """
    turned, half = [joined(lines[first::count]) for first in range(count)], count // 2
    for _ in range(count.bit_length() - 1):
        pairs = list(zip(turned[:half], turned[half:], strict=True))
        turned = [_interleaved(*pair, first, count) for pair in pairs for first in (0, half)]
    return turned


def _interleaved(one: ir.Value, other: ir.Value, first: int, count: int) -> ir.Value:
    """Of each `count` lanes of two vectors half as many, from number `first` on, in turn."""
    lanes = ir.VectorType(one.type).shape[0]
    starts = range(first, lanes, count)
    return shuffle(one, other, [at + n + which for at in starts for n in range(count // 2) for which in (0, lanes)])
