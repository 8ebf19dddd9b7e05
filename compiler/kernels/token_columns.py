"""Columns of a few elements of some rows, by interleaving: what transposes tokens on their way in and out."""

from __future__ import annotations

from collections.abc import Sequence

from torch_mlir import ir

from sparsec.kernels.emit import joined, shuffle

QUAD = 4  # elements of 128 bits, inside which instructions interleave
WIDE = 16  # rows from which on two quads of each are loaded at once


def loaded(rows: int) -> int:
    """Elements of each of so many rows, a power of two, that are loaded at once."""
    return 2 * QUAD if rows >= WIDE else min(QUAD, rows)


def columns(lines: Sequence[ir.Value], count: int) -> list[ir.Value]:
    """The columns of rows of `count` elements: QUAD, twice as many, or fewer; `count` vectors with an element of every row.

    Rows, which are loaded as they are, are put side by side, so that they fill vectors, and then turned inside their quads, by
    interleaving: those shuffles that x86 has most units for. Where rows have two quads, those of a column are brought together
    at last: a shuffle takes the place of loads that are half as long, which on Zen 5 is 3 % of a sparse layer's time.
    """
    if count <= QUAD:
        return _turned([joined(lines[first::count]) for first in range(count)])
    beside, half = list(zip(lines, lines[QUAD:], strict=False)), len(lines) // 2
    low, high = (_turned([joined(beside[first + number]) for number in range(QUAD)]) for first in (0, half))
    return [_quads(one, other, which) for which in (0, 1) for one, other in zip(low, high, strict=True)]


def _turned(vectors: Sequence[ir.Value]) -> list[ir.Value]:
    """As many vectors, of which each run of so many lanes has a column of the square that those runs were."""
    turned, count = list(vectors), len(vectors)
    half = count // 2
    for _ in range(count.bit_length() - 1):
        pairs = list(zip(turned[:half], turned[half:], strict=True))
        turned = [_interleaved(*pair, first, count) for pair in pairs for first in (0, half)]
    return turned


def _interleaved(one: ir.Value, other: ir.Value, first: int, count: int) -> ir.Value:
    """Of each `count` lanes of two vectors half as many, from number `first` on, in turn."""
    lanes = ir.VectorType(one.type).shape[0]
    starts = range(first, lanes, count)
    return shuffle(one, other, [at + n + which for at in starts for n in range(count // 2) for which in (0, lanes)])


def _quads(one: ir.Value, other: ir.Value, which: int) -> ir.Value:
    """Every other quad of one vector, from number `which` on, and then of another."""
    lanes = ir.VectorType(one.type).shape[0]
    return shuffle(one, other, [at + n for at in range(which * QUAD, 2 * lanes, 2 * QUAD) for n in range(QUAD)])
