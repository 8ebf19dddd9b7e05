"""Sparse rows times a tile of vectors: how the rows are packed, and the loop that all CSR kernels share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.blocked import Blocked
from sparsec.formats.csr import Csr
from sparsec.kernels.emit import Buffer, Vectors, loop
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.packed import Packed
from sparsec.kernels.short_sums import add_products
from sparsec.kernels.words import FP32, Words

CHAINS = 8  # multiply-adds in flight: latency 4 cycles, 2 per cycle
BLOCK_CHAINS = 14  # where loads are not the limit, some to spare are faster
HEIGHTS = (4, 8)  # of the blocks that kernels compute; a taller block is several of these
MOST_SUMS = 24  # vectors in registers
AHEAD = 512  # weights, and offsets, from one that is read to one that is asked for: those of a network are far
FAR_BYTES = 1 << 20  # a weight of so many bytes does not stay in level-2 cache
ROW_COST = 3  # an empty row costs as much as this many nonzeros


def unroll(sums: int, chains: int = CHAINS - 1) -> int:
    """Nonzeros or blocks per step of the inner loop, each with sums of its own, so that there are so many chains."""
    return next(count for count in (1, 2, 4, 8, 16) if count * sums >= chains)


def row_unroll(sums: int, isa: Isa) -> int:
    """Nonzeros of a row per step of the inner loop; each reads a vector per sum, and its weight."""
    count = unroll(sums)
    while count > isa.unrolling(count, sums, sums + 1):
        count //= 2
    return count


def most_vectors(height: int, isa: Isa, *, most: int = 4) -> int:
    """Vectors of a tile, `most` at most, whose sums with `height` rows fit the registers, beside what a block reads."""
    free = isa.registers - 1 - (height if isa.early_loads else 0)
    return max(1, min(most, MOST_SUMS // height, free // (height + 1)))


def block_unroll(sums: int, isa: Isa) -> int:
    """Blocks per step of the inner loop; there must be registers for that."""
    return 1 if isa.early_loads else unroll(sums, BLOCK_CHAINS if isa.registers >= 32 else CHAINS - 1)


def block_cycles(height: int, blocks: int, vectors: int, tiles: int) -> float:
    """Estimated cycles of `blocks` blocks for `vectors` vectors in so many tiles: two multiply-adds a cycle, or 0.75 loads
    from level-2 cache; CHAINS sums hide the latency."""
    wide = max(height * vectors, tiles * CHAINS * 0.65)
    return blocks * (max(wide * 0.515, vectors * 1.33) + 0.35 * tiles)


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
        cls,
        weight: Csr | Blocked,
        groups: Sequence[NDArray[np.int64]],
        slots: Sequence[NDArray[np.int64]],
        *,
        columns: int | None,
    ) -> Visits:
        """Visit the rows (or rows of blocks) of each group, in blocks of so many `columns`; empty ones if that is all."""
        inside, rows_in_all = math.prod(weight.shape[1:]), len(weight.counts)
        blocks = 1 if columns is None else -(-inside // columns)
        places_in = weight.columns.astype(np.int64)
        key = np.repeat(np.arange(rows_in_all), weight.counts) * blocks + places_in // (columns or max(inside, 1))
        counts = np.bincount(key, minlength=rows_in_all * blocks)
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
class SparseRows(Packed):
    """The nonzeros of the rows, or the blocks of the rows of blocks, in visiting order.

    `values[i]` (of a block: `height` words, one for each row) multiplies the vector at element `offsets[i]`. Visit j
    goes to place `order[j]` and has the nonzeros [pointers[j], pointers[j + 1]), a `multiple` of the unrolling; group g
    makes the visits [bounds[g], bounds[g + 1]).
    Rows are filled up by splitting values into halves, exactly: a filler of zero would be simpler, but zero times
    infinity is NaN, and a row may only see what its own nonzeros read. Whole numbers have no infinity, and zeros.
    """

    values: NDArray[np.generic]
    offsets: NDArray[np.int32]
    order: NDArray[np.int32]
    pointers: NDArray[np.int32]
    bounds: NDArray[np.int32]
    multiple: int

    @classmethod
    def pack(
        cls,
        values: NDArray[np.float32],
        offsets: NDArray[np.int64],
        visits: Visits,
        *,
        multiple: int,
        words: Words = FP32,
    ) -> SparseRows:
        """Pack the visited rows.

        `values` is [nonzeros] or [blocks, width, height], blocks being as wide as words; `offsets` has the element offset
        of each. Rows are filled up to a `multiple`.
        """
        counts = visits.ends - visits.begins
        fillers = np.where(counts > 0, -counts % multiple, 0)
        inside = ramps(counts)
        source = np.repeat(visits.begins, counts) + inside
        extra, rest = np.divmod(np.repeat(fillers, counts), np.repeat(counts, counts))
        pieces = 1 + extra + (inside < rest)
        halvings = np.minimum(ramps(pieces) + 1, np.repeat(pieces - 1, pieces))
        repeated = np.repeat(values.reshape(len(values), words.group, -1 if len(values) else 1)[source], pieces, axis=0)
        if words.exact:
            split = np.where(ramps(pieces)[:, None, None] == 0, repeated, 0)
        else:
            split = np.ldexp(repeated, -halvings[:, None, None]).astype(np.float32)
        return cls(
            _never_empty(words.encode(split.transpose(0, 2, 1)).reshape(-1)),
            _never_empty(np.repeat(offsets[source], pieces).astype(np.int32)),
            visits.slots.astype(np.int32),
            np.concatenate([[0], np.cumsum(counts + fillers)]).astype(np.int32),
            visits.bounds.astype(np.int32),
            multiple,
        )

    @property
    def groups(self) -> int:
        return len(self.bounds) - 1


def ramps(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 ... n - 1 for each n of `lengths`, behind each other."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _never_empty(array: NDArray[Scalar]) -> NDArray[Scalar]:
    return array if len(array) else np.zeros(1, dtype=array.dtype)


def emit_rows(
    buffers: Mapping[str, Buffer],
    vectors: Vectors,
    steps: Sequence[int],
    *,
    height: int,
    apart: int,
    source: Buffer,
    base: Index,
    group: Index,
    start: Callable[[Index], list[ir.Value]],
    store: Callable[[Index, list[ir.Value]], None],
    words: Words = FP32,
) -> None:
    """The visits of a group: `store(slot, sums)` gets the vectors `start(slot)` plus what the nonzeros or blocks add.

    One adds, for each of its `height` rows and each step, value * source[base + offset + step ...]. Sums are
    [height * steps] and of the type of `vectors`; `apart` nonzeros are added to sums of their own.
    """
    count, read = len(steps), Vectors(vectors.lanes, words.dtype)

    def nonzeros(at: Index, known: list[ir.Value], sums: list[ir.Value]) -> tuple[list[ir.Value], list[ir.Value]]:
        buffers["values"].prefetch(at * height + AHEAD)
        buffers["offsets"].prefetch(at + AHEAD)
        for part in range(apart):
            here = base + buffers["offsets"].load_index(at + part)
            across = [read.load(source, here + step) for step in steps]
            weights = words.splats(buffers["values"], (at + part) * height, height, read.lanes)
            for row, weight in enumerate(weights):
                for number, operand in enumerate(across):
                    chain = (part * height + row) * count + number
                    sums[chain] = words.multiply_add(operand, weight, sums[chain])
        return known, sums

    with loop(buffers["bounds"].load_index(group), buffers["bounds"].load_index(group + 1)) as visited:
        begin, end = (buffers["pointers"].load_index(visited + i) for i in (0, 1))
        slot = buffers["order"].load_index(visited)
        span = (begin, end)
        _, sums = add_products(words, start(slot), span, nonzeros, step=apart, products=apart, apart=apart)
        store(slot, sums)


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


@dataclass(frozen=True, slots=True)
class BlockRows:
    """Rows of blocks of `height` rows that a linear layer walks, once for each of `parts` blocks of columns."""

    rows: SparseRows
    height: int
    parts: int

    @property
    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """The packed weight, by buffer name."""
        return self.rows.arrays

    @property
    def spec(self) -> dict[str, tuple[str, int]]:
        """The kernel's arguments for `arrays`."""
        return self.rows.spec

    @property
    def tag(self) -> str:
        """What the generated code depends on besides the sizes in `spec`."""
        return f"blocks {self.height} {self.parts} {self.rows.multiple}"

    @property
    def adds(self) -> bool:
        """False if each row is visited once, with a sum that begins at zero."""
        return self.parts > 1

    def emit(self, buffers: Mapping[str, Buffer], tile: RowTile) -> None:
        """Leave the sums of a group's blocks, or add them, in the sums of a tile."""
        held = replace(tile.held, height=self.height)
        zeros = [held.vectors.splat(0.0)] * (self.height * held.count)
        emit_rows(
            buffers,
            held.vectors,
            [number * held.vectors.lanes for number in range(held.count)],
            height=self.height,
            apart=self.rows.multiple,
            source=tile.source,
            base=tile.base,
            group=tile.group,
            start=held.load if self.adds else lambda _: zeros,
            store=held.save,
            words=tile.words,
        )
