"""Unstructured sparse rows in blocks of columns, walked four nonzeros at a time.

What limits such a kernel is loads: one of x per multiply-add, and besides them as few as possible. So four weights are
one load, four 16-bit offsets are another, and blocks of columns are small enough that x comes from the level-1 cache.
Visits to rows are sorted by their count of nonzeros modulo four and then by count, so that loops run alike from one
visit to the next and the odd nonzeros need no loop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects import arith, vector

from sparsec.formats.csr import Csr
from sparsec.kernels.emit import Buffer, Index, Vectors, carry, fma, shuffle
from sparsec.kernels.spmm import CHAINS, Held, add_up, ramps

STEP = 4  # nonzeros that share a load of weights and one of offsets


@dataclass(frozen=True, slots=True)
class CountedRows:
    """The nonzeros of groups of rows, group by group and block of columns by block.

    Nonzero i has `values[i]` and reads x at `offsets[i]` elements from its block's first column. A visit adds
    STEP * `steps[j]` + r nonzeros to row `slots[j]` of its group; the visits of block b of group g with remainder r are
    [bounds[n], bounds[n + 1]) with n = (g * blocks + b) * STEP + r. The nonzeros of group g begin at `starts[g]`.
    """

    values: NDArray[np.float32]
    offsets: NDArray[np.uint16]
    slots: NDArray[np.uint16]
    steps: NDArray[np.uint16]
    bounds: NDArray[np.int32]
    starts: NDArray[np.int32]
    columns: int
    blocks: int

    @classmethod
    def pack(cls, csr: Csr, groups: NDArray[np.int64], *, columns: int, width: int) -> CountedRows:
        """Rows [groups[g], groups[g + 1]) are a group; a block has so many `columns`, `width` elements of x apart."""
        blocks = max(1, -(-math.prod(csr.shape[1:]) // columns))
        row = np.repeat(np.arange(csr.rows), csr.counts)
        group = np.searchsorted(groups, row, side="right") - 1
        block, inside = np.divmod(csr.columns.astype(np.int64), columns)
        place = row * blocks + block  # rising: the nonzeros of a visit are neighbours
        visited, first, counts = np.unique(place, return_index=True, return_counts=True)
        bucket = (group[first] * blocks + block[first]) * STEP + counts % STEP
        order = np.lexsort((-counts, bucket))
        source = np.repeat(first[order], counts[order]) + ramps(counts[order])
        bounds = np.searchsorted(bucket[order], np.arange((len(groups) - 1) * blocks * STEP + 1))
        behind = np.concatenate([[0], np.cumsum(counts[order])])
        return cls(
            np.concatenate([csr.values[source], np.zeros(STEP, dtype=np.float32)]),
            np.concatenate([inside[source] * width, np.zeros(STEP, dtype=np.int64)]).astype(np.uint16),
            np.concatenate([visited[order] // blocks - groups[group[first][order]], [0]]).astype(np.uint16),
            np.concatenate([counts[order] // STEP, [0]]).astype(np.uint16),
            bounds.astype(np.int32),
            behind[bounds[:: blocks * STEP]].astype(np.int32),
            columns,
            blocks,
        )

    @property
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The packed weight, by buffer name."""
        return {
            "values": self.values,
            "offsets": self.offsets,
            "slots": self.slots,
            "steps": self.steps,
            "bounds": self.bounds,
            "starts": self.starts,
        }

    @property
    def spec(self) -> dict[str, tuple[str, int]]:
        """The kernel's arguments for `arrays`."""
        kinds = {"f": "f32", "u": "i16", "i": "i32"}
        return {name: (kinds[array.dtype.kind], len(array)) for name, array in self.arrays.items()}

    def emit(
        self,
        buffers: Mapping[str, Buffer],
        held: Held,
        vectors: Sequence[int],
        *,
        source: Buffer,
        base: Index,
        width: int,
        group: Index,
    ) -> None:
        """Add the nonzeros of a group to the sums in `held`, for the vectors of x at these elements of each column."""
        walk = _Walk(buffers, held, tuple(vectors), source)

        def block(number: Index, carried: list[ir.Value]) -> list[ir.Value]:
            here = base + number * (self.columns * width)
            at = carried[0]
            for rest in range(STEP):
                at = walk.bucket((group * self.blocks + number) * STEP + rest, at, rest, here)
            return [at]

        carry(0, self.blocks, 1, [buffers["starts"].load_index(group).value], block)


@dataclass(frozen=True, slots=True)
class _Walk:
    buffers: Mapping[str, Buffer]
    held: Held
    vectors: tuple[int, ...]
    source: Buffer

    @property
    def apart(self) -> int:
        """Sets of sums, so that narrow tiles have enough chains."""
        return next(count for count in (1, 2, 4) if count == STEP or count * len(self.vectors) >= CHAINS // 2)

    def bucket(self, number: Index, at: ir.Value, rest: int, here: Index) -> ir.Value:
        """The visits with one remainder in a block whose columns begin at element `here` of x."""
        begin, end = (self.buffers["bounds"].load_index(number + i) for i in (0, 1))

        def one(visit: Index, carried: list[ir.Value]) -> list[ir.Value]:
            return [self.visit(visit, carried[0], rest, here)]

        return carry(begin, end, 1, [at], one)[0]

    def visit(self, number: Index, at: ir.Value, rest: int, here: Index) -> ir.Value:
        """One visit, whose nonzeros begin at `at`; returns where the next ones begin."""
        lanes, count = self.held.vectors, len(self.vectors)
        slot, steps = self.buffers["slots"].load_index(number), self.buffers["steps"].load_index(number)
        fresh = [lanes.splat(0.0)] * (count * (self.apart - 1))

        def four(_: Index, carried: list[ir.Value]) -> list[ir.Value]:
            begin = Index(dynamic=carried[0])
            return [(begin + STEP).value, *self._add(begin, here, STEP, carried[1:])]

        at, *sums = carry(0, steps, 1, [at, *self.held.load(slot), *fresh], four)
        if rest:
            sums = self._add(Index(dynamic=at), here, rest, sums)
        self.held.save(slot, [add_up(sums[vector::count]) for vector in range(count)])
        return (Index(dynamic=at) + rest).value

    def _add(self, at: Index, here: Index, nonzeros: int, sums: Sequence[ir.Value]) -> list[ir.Value]:
        """Sums with the next `nonzeros` <= STEP added."""
        lanes, sums, count = self.held.vectors, list(sums), len(self.vectors)
        weights = Vectors(STEP).load(self.buffers["values"], at)
        packed = Vectors(STEP, "i16").load(self.buffers["offsets"], at)
        word = ir.IntegerType.get_signless(16 * STEP)
        offsets = vector.extract(vector.bitcast(ir.VectorType.get([1], word), packed), [], [0])
        for number in range(nonzeros):
            weight = shuffle(weights, weights, [number] * lanes.lanes)
            offset = here + _field(offsets, number)
            for place, step in enumerate(self.vectors):
                chain = number % self.apart * count + place
                operand = lanes.load(self.source, offset + step)
                sums[chain] = fma(weight, operand, sums[chain])
        return sums


def _field(word: ir.Value, number: int) -> Index:
    """The 16-bit number at this place of a 64-bit word."""
    if number:
        word = arith.shrui(word, arith.constant(word.type, 16 * number))
    narrow = arith.trunci(ir.IntegerType.get_signless(16), word)
    return Index(dynamic=arith.index_castui(ir.IndexType.get(), narrow))
