"""exp(x - max x) of a row of scores in place, with one by the sum of it: what softmax is but for the last product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.kernels.emit import Buffer, Vectors, carry, loop, shuffle
from sparsec.kernels.index import Index, as_index

ABREAST = 4  # vectors that are worked on side by side, as an exponential is one long chain
LOWEST = float("-inf")

Fold = Callable[[ir.Value, ir.Value], ir.Value]


@dataclass(frozen=True, slots=True)
class SoftmaxRows:
    """Rows of `bands` whole vectors, whose lanes beyond the end hold minus infinity.

    NaN, and a row of minus infinities, make the whole row NaN, as softmax does.
    """

    vectors: Vectors
    bands: int

    def exponentiate(self, scores: Buffer, rows: Index, pitch: int, shares: Buffer) -> None:
        """Rows `pitch` elements apart; the reciprocal for each goes to every lane of a vector of `shares`.

        Maxima of all rows come first: a processor that waits for the end of one finds the next row to work on.
        """
        lanes = self.vectors.lanes
        with loop(0, rows) as row:
            tops = self._fold(row * pitch, LOWEST, _larger, lambda at, count: self._load(scores, at, count))
            self.vectors.store(self._all_lanes(tops, _larger), shares, row * lanes)
        with loop(0, rows) as row:
            self._exponentiate(scores, row * pitch, shares, row * lanes)

    def _exponentiate(self, scores: Buffer, row: Index, shares: Buffer, share: Index) -> None:
        """The same of one row, whose maximum is where the reciprocal is to be."""
        top = self.vectors.load(shares, share)

        def grown(at: Index, count: int) -> list[ir.Value]:
            less = [arith.subf(each, top) for each in self._load(scores, at, count)]
            found = [_flagged("math.exp", "afn", each) for each in less]
            for number, each in enumerate(found):
                self.vectors.store(each, scores, at + number * self.vectors.lanes)
            return found

        total = self._all_lanes(self._fold(row, 0.0, arith.addf, grown), arith.addf)
        self.vectors.store(arith.divf(self.vectors.splat(1.0), total), shares, share)

    def _load(self, scores: Buffer, at: Index, count: int) -> list[ir.Value]:
        return [self.vectors.load(scores, at + number * self.vectors.lanes) for number in range(count)]

    def _fold(
        self, row: Index, start: float, fold: Fold, values: Callable[[Index, int], Sequence[ir.Value]]
    ) -> list[ir.Value]:
        """The vectors `values(at, count)` of a row, folded into few; some may be those that `start` says."""
        lanes, count = self.vectors.lanes, min(ABREAST, self.bands)
        whole, left = divmod(self.bands, count)

        def step(at: Index, found: list[ir.Value]) -> list[ir.Value]:
            return [fold(one, other) for one, other in zip(found, values(row + at, count), strict=True)]

        found = carry(0, whole * count * lanes, count * lanes, [self.vectors.splat(start)] * count, step)
        rest = values(row + as_index(whole * count * lanes), left) if left else []
        return [*(fold(one, other) for one, other in zip(found, rest, strict=False)), *found[left:]]

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
