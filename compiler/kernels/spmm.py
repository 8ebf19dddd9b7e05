"""Sparse rows times a tile of vectors: how the rows are packed, and the loop that all CSR kernels share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.formats.csr import Csr
from sparsec.kernels.emit import Buffer, Index, Vectors, carry, fma, loop

CHAINS = 8  # multiply-adds in flight: latency 4 cycles, 2 per cycle
ROW_COST = 3  # an empty row costs as much as this many nonzeros


def unroll(vectors: int) -> int:
    """Nonzeros per step of the inner loop, each with sums of its own, so that a narrow tile has CHAINS chains."""
    return next(count for count in (1, 2, 4, 8) if count * vectors >= CHAINS - 1)


Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Visits:
    """The order in which a kernel visits pieces of rows; group g makes the visits [bounds[g], bounds[g + 1]).

    A visit adds the nonzeros [begins[j], ends[j]) of a row to place `slots[j]`. A group goes through the columns block
    by block, so that what a block reads stays in L1; inside a block rows have falling numbers of nonzeros: neighbours
    then have equal loops, which branch prediction likes.
    """

    slots: NDArray[np.int64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    bounds: NDArray[np.int64]

    @classmethod
    def of(
        cls, csr: Csr, groups: Sequence[NDArray[np.int64]], slots: Sequence[NDArray[np.int64]], *, columns: int | None
    ) -> Visits:
        """Visit the rows of each group, in blocks of so many `columns`; if there is one block, empty rows, too."""
        inside = math.prod(csr.shape[1:])
        blocks = 1 if columns is None else -(-inside // columns)
        key = np.repeat(np.arange(csr.rows), csr.counts) * blocks + csr.columns.astype(np.int64) // (columns or inside)
        counts = np.bincount(key, minlength=csr.rows * blocks)
        ends = np.cumsum(counts)
        keys, places, bounds = [], [], [0]
        for rows, mine in zip(groups, slots, strict=True):
            for block in range(blocks):
                here = rows * blocks + block
                order = np.argsort(-counts[here], kind="stable")
                order = order[counts[here][order] > 0] if blocks > 1 else order
                keys.append(here[order])
                places.append(mine[order])
            bounds.append(sum(map(len, keys[-blocks:])) + bounds[-1])
        picked = np.concatenate(keys)
        return cls(np.concatenate(places), ends[picked] - counts[picked], ends[picked], np.array(bounds))


@dataclass(frozen=True, slots=True)
class SparseRows:
    """The nonzeros of the rows in visiting order.

    `values[i]` multiplies the vector at element `offsets[i]`. Visit j goes to place `order[j]` and has the nonzeros
    [pointers[j], pointers[j + 1]), a multiple of the unrolling; group g makes the visits [bounds[g], bounds[g + 1]).
    Rows are filled up by splitting values into halves, exactly: a filler of zero would be simpler, but zero times
    infinity is NaN, and a row may only see what its own nonzeros read.
    """

    values: NDArray[np.float32]
    offsets: NDArray[np.int32]
    order: NDArray[np.int32]
    pointers: NDArray[np.int32]
    bounds: NDArray[np.int32]

    @classmethod
    def pack(cls, csr: Csr, offsets: NDArray[np.int64], visits: Visits, *, multiple: int) -> SparseRows:
        """Pack the visited rows with the element offset of each nonzero; rows are filled up to a `multiple`."""
        counts = visits.ends - visits.begins
        fillers = np.where(counts > 0, -counts % multiple, 0)
        inside = _ramps(counts)
        source = np.repeat(visits.begins, counts) + inside
        extra, rest = np.divmod(np.repeat(fillers, counts), np.repeat(counts, counts))
        pieces = 1 + extra + (inside < rest)
        halvings = np.minimum(_ramps(pieces) + 1, np.repeat(pieces - 1, pieces))
        return cls(
            _never_empty(np.ldexp(np.repeat(csr.values[source], pieces), -halvings).astype(np.float32)),
            _never_empty(np.repeat(offsets[source], pieces).astype(np.int32)),
            visits.slots.astype(np.int32),
            np.concatenate([[0], np.cumsum(counts + fillers)]).astype(np.int32),
            visits.bounds.astype(np.int32),
        )

    @property
    def groups(self) -> int:
        return len(self.bounds) - 1

    @property
    def arrays(self) -> dict[str, NDArray[np.float32] | NDArray[np.int32]]:
        """The packed weight, by buffer name."""
        return {
            "values": self.values,
            "offsets": self.offsets,
            "order": self.order,
            "pointers": self.pointers,
            "bounds": self.bounds,
        }

    @property
    def spec(self) -> dict[str, tuple[str, int]]:
        """The kernel's arguments for `arrays`."""
        return {name: ("f32" if name == "values" else "i32", len(array)) for name, array in self.arrays.items()}


def _ramps(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 ... n - 1 for each n of `lengths`, behind each other."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _never_empty(array: NDArray[Scalar]) -> NDArray[Scalar]:
    return array if len(array) else np.zeros(1, dtype=array.dtype)


def emit_rows(
    buffers: Mapping[str, Buffer],
    vectors: Vectors,
    steps: Sequence[int],
    *,
    source: Buffer,
    base: Index,
    group: Index,
    start: Callable[[Index], list[ir.Value]],
    store: Callable[[Index, list[ir.Value]], None],
) -> None:
    """The visits of a group: `store(slot, sums)` gets the vectors `start(slot)` plus what the nonzeros add.

    A nonzero adds, for each step, values[i] * source[base + offsets[i] + step ...].
    """
    count, apart = len(steps), unroll(len(steps))

    def nonzeros(at: Index, sums: list[ir.Value]) -> list[ir.Value]:
        for part in range(apart):
            weight = vectors.load_splat(buffers["values"], at + part)
            here = base + buffers["offsets"].load_index(at + part)
            for number, step in enumerate(steps):
                chain = part * count + number
                sums[chain] = fma(weight, vectors.load(source, here + step), sums[chain])
        return sums

    with loop(buffers["bounds"].load_index(group), buffers["bounds"].load_index(group + 1)) as visited:
        begin, end = (buffers["pointers"].load_index(visited + i) for i in (0, 1))
        slot = buffers["order"].load_index(visited)
        fresh = [vectors.splat(0.0)] * (count * (apart - 1))
        sums = carry(begin, end, apart, [*start(slot), *fresh], nonzeros)
        store(slot, [_tree(sums[number::count]) for number in range(count)])


@dataclass(frozen=True, slots=True)
class Held:
    """The sums of a group of rows, in memory: [rows][vectors][lanes]."""

    memory: Buffer
    vectors: Vectors
    count: int

    @property
    def width(self) -> int:
        return self.vectors.lanes * self.count

    def clear(self, rows: int) -> None:
        """Make the sums of the first `rows` zero."""
        with loop(0, rows) as slot:
            self.save(slot, [self.vectors.splat(0.0)] * self.count)

    def load(self, slot: Index) -> list[ir.Value]:
        return [self.vectors.load(self.memory, slot * self.width + n * self.vectors.lanes) for n in range(self.count)]

    def save(self, slot: Index, sums: list[ir.Value]) -> None:
        for number, value in enumerate(sums):
            self.vectors.store(value, self.memory, slot * self.width + number * self.vectors.lanes)


def _tree(values: list[ir.Value]) -> ir.Value:
    while len(values) > 1:
        values = [arith.addf(left, right) for left, right in zip(values[::2], values[1::2], strict=True)]
    return values[0]
