"""What walks over groups of rows work on: their sums in memory, and the vectors of x."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch_mlir import ir

from sparsec.kernels.emit import Buffer, Vectors, loop
from sparsec.kernels.index import Index
from sparsec.kernels.words import FP32, Words


@dataclass(frozen=True, slots=True)
class Held:
    """The sums of a group of rows, in memory: [slots][height][pitch elements], of which `count` vectors are used."""

    memory: Buffer
    vectors: Vectors
    height: int
    count: int
    pitch: int

    def _places(self, slot: Index) -> Iterator[Index]:
        for row in range(self.height):
            for number in range(self.count):
                yield slot * (self.height * self.pitch) + (row * self.pitch + number * self.vectors.lanes)

    def clear(self, slots: int | Index) -> None:
        """Make the sums of the first `slots` zero."""
        with loop(0, slots) as slot:
            self.save(slot, [self.vectors.splat(0.0)] * (self.height * self.count))

    def load(self, slot: Index) -> list[ir.Value]:
        return [self.vectors.load(self.memory, place) for place in self._places(slot)]

    def save(self, slot: Index, sums: list[ir.Value]) -> None:
        for place, value in zip(self._places(slot), sums, strict=True):
            self.vectors.store(value, self.memory, place)


@dataclass(frozen=True, slots=True)
class RowTile:
    """What a walk over a group of rows works on: the sums of the rows in `held`, and x, whose columns begin at
    element `base` of `source`; its elements are `words`.
    """

    held: Held
    source: Buffer
    base: Index
    group: Index
    words: Words = FP32
