"""exp(x - max x) of a row of scores, as words, with one by the sum of it: what softmax is but for the last product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.kernels.emit import Buffer, Vectors, carry, loop, shuffle
from sparsec.kernels.index import Index, as_index
from sparsec.kernels.words import Words

ABREAST = 4  # vectors that are worked on side by side, as an exponential is one long chain
LOWEST = float("-inf")

Fold = Callable[[ir.Value, ir.Value], ir.Value]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a buffer, `pitch` elements apart, the first at `first`."""

    buffer: Buffer
    first: Index
    pitch: int

    def at(self, row: Index, element: Index | int = 0) -> Index:
        """Where an element of a row lies."""
        return self.first + row * self.pitch + as_index(element)


@dataclass(frozen=True, slots=True)
class SoftmaxRows:
    """Rows of `bands` whole vectors, whose lanes beyond the end hold minus infinity.

    NaN, and a row of minus infinities, make the whole row NaN, as softmax does.
    """

    vectors: Vectors
    bands: int
    words: Words

    def exponentiate(self, scores: Rows, count: Index, grown: Rows, shares: Buffer) -> None:
        """Exponentials of `count` rows go to `grown` as words; it may be `scores` where these are elements. The reciprocal of
        the sum of what was stored of each goes to every lane of a vector of `shares`.

        Maxima of all rows come first: a processor that waits for the end of one finds the next row to work on.
        """
        lanes = self.vectors.lanes
        with loop(0, count) as row:
            tops = self._fold(LOWEST, _larger, lambda at, number: self._load(scores, row, at, number))
            self.vectors.store(self._all_lanes(tops, _larger), shares, row * lanes)
        with loop(0, count) as row:
            self._exponentiate(scores, row, grown, shares)

    def _exponentiate(self, scores: Rows, row: Index, grown: Rows, shares: Buffer) -> None:
        """The same of one row, whose maximum is where the reciprocal is to be."""
        share = row * self.vectors.lanes
        top = self.vectors.load(shares, share)

        def exponentials(at: Index, count: int) -> list[ir.Value]:
            less = [arith.subf(each, top) for each in self._load(scores, row, at, count)]
            found = [_flagged("math.exp", "afn", each) for each in less]
            return self._store(found, grown.buffer, grown.at(row, at // self.words.group))

        total = self._all_lanes(self._fold(0.0, self._add, exponentials, self.words.group), arith.addf)
        self.vectors.store(arith.divf(self.vectors.splat(1.0), total), shares, share)

    def _load(self, scores: Rows, row: Index, at: Index, count: int) -> list[ir.Value]:
        first = scores.at(row, at)
        return [self.vectors.load(scores.buffer, first + number * self.vectors.lanes) for number in range(count)]

    def _store(self, values: Sequence[ir.Value], grown: Buffer, at: Index) -> list[ir.Value]:
        """Store neighbouring vectors as words, filled up with zeros, and return these."""
        group, along = self.words.group, Vectors(self.vectors.lanes, self.words.dtype)
        filled = [*values, *[self.vectors.splat(0.0)] * (-len(values) % group)]
        words = [self.words.packed(*filled[first : first + group]) for first in range(0, len(filled), group)]
        for number, word in enumerate(words):
            along.store(word, grown, at + number * along.lanes)
        return words

    def _add(self, total: ir.Value, word: ir.Value) -> ir.Value:
        """total + the elements of words."""
        if self.words.plain:
            return arith.addf(total, word)
        (one,) = self.words.encode(np.ones(self.words.group))
        return self.words.multiply_add(word, Vectors(self.vectors.lanes, self.words.dtype).splat(int(one)), total)

    def _fold(
        self, start: float, fold: Fold, values: Callable[[Index, int], Sequence[ir.Value]], group: int = 1
    ) -> list[ir.Value]:
        """What `values(at, count)` makes of `count` vectors of a row from element `at` on, one of `group` of them, folded into
        few; some may be those that `start` says.
        """
        lanes, count = self.vectors.lanes, min(ABREAST, self.bands)
        whole, left = divmod(self.bands, count)

        def step(at: Index, found: list[ir.Value]) -> list[ir.Value]:
            return [fold(one, other) for one, other in zip(found, values(at, count), strict=True)]

        starts = [self.vectors.splat(start)] * -(-count // group)
        found = carry(0, whole * count * lanes, count * lanes, starts, step)
        rest = values(as_index(whole * count * lanes), left) if left else []
        return [*(fold(one, other) for one, other in zip(found, rest, strict=False)), *found[len(rest) :]]

    def _all_lanes(self, values: Sequence[ir.Value], fold: Fold) -> ir.Value:
        """All lanes of all vectors folded into one number, in every lane."""
        values = list(values)
        while len(values) > 1:
            values = [
                *(fold(a, b) for a, b in zip(values[::2], values[1::2], strict=False)),
                *values[len(values) & ~1 :],
            ]
        (value,), distance = values, self.vectors.lanes // 2
        while distance:
            value = fold(value, shuffle(value, value, [lane ^ distance for lane in range(self.vectors.lanes)]))
            distance //= 2
        return value


def _larger(one: ir.Value, other: ir.Value) -> ir.Value:
    """The maximum; it may overlook NaN, which the sum of exponentials does not."""
    return _flagged("arith.maximumf", "nnan,nsz", one, other)


def _flagged(name: str, flags: str, *operands: ir.Value) -> ir.Value:
    """The result of an op on floats with fast-math flags."""
    attributes = {"fastmath": ir.Attribute.parse(f"#arith.fastmath<{flags}>")}
    return ir.Operation.create(name, [operands[0].type], list(operands), attributes).results[0]
