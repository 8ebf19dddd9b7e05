"""Lane streams: an unstructured matrix as the tensor cores' lanes take it, a bit per item and the items that are not zero.

Items are values or, in a sparse matrix, pairs of neighbours in a row, of which one may be zero: more bytes, fewer instructions.

A warp has 32 rows and, of a step, 32 columns or 64. Of a batch of steps, at most 1, 2 or 4, it has a mask word of each lane for each,
then items. A lane holds the elements of the fragments of `mma.m16n8k16` (and of `wgmma`) that it feeds, 32 items for a
mask word, and consumes its nonzeros one after the other, in chunks of 16 bytes. In a batch, each lane takes the chunks that it
lacks: the first of all lanes are a row, in order, then the second of those that take two, and so on. The first `full` rows
are whole: a lane that lacks fewer is given what it takes later, and does not count it. A batch begins with a line of memory. So
a stream has no pointers, and is read front to back.

Bytes per element: 1/8 + 2 x density for values (bitmap and values), 1/16 + 4 x density for pairs at most; a twentieth more at most
for whole rows, half a line for each batch, and half a chunk for each lane at the end of a worker's part.

Of a mask word, bit 7 - s of byte b is item b of the lane's s-th group of four. Elements of a lane are rows g or g + 8 of 16 rows
and columns c, c + 1 of 16 columns: g = lane / 4, c = 8 * h + 2 * (lane % 4). For values, s = 4 * (16 columns: kt) + 2 * (16 rows:
mt) + h and b = 2 * (8 rows) + column; for pairs, s = 4 * (32 columns) + 2 * kt + mt and b = 2 * h + (8 rows).
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.products.device_cost import Kernel
from sparsec.cuda.streams.partition import ROWS, WARPS, Partition, deal, halves_for, nonzeros
from sparsec.cuda.streams.uneven_steps import Bits, Offsets, UnevenSteps

LANES = 32
WORD = 32  # items of a mask word
TILE = 32  # columns of fragments
UNIT = 16  # bytes: a chunk of a lane
LINE = 8  # units of a line of memory
CHUNK_SLOTS = 8  # that a chunk is laid out in
X_BYTES = 32 << 10  # of shared memory, that X should have beside the values
SHARED_BYTES = 227 << 10  # of an H100, for a block of threads
PAIRED = 0.125  # density up to which items are pairs
WASTED = 0.05  # of the units, at most, to have whole rows
MOST_HELD = 7  # chunks of a lane that are loaded ahead, as registers allow
LATE = 0.03  # of the batches of warps, those that may have more
NEGATIVE_ZERO = 0x8000


@dataclass(frozen=True, slots=True)
class LaneStreams(UnevenSteps):
    """A matrix [m, k] of 16-bit floating-point numbers, kept as bits.

    `units` is uint8 [units, 16]. `chunks` is the most that a lane takes in a batch, `full` how many all take, `held` how many are
    loaded before the batch.
    """

    kernel: ClassVar[Kernel] = "bitmap_mma"
    item: ClassVar[np.dtype[np.unsignedinteger]]
    # Steps of a batch, up to a density: longer batches cost less, shorter ones fit.
    batches: ClassVar[tuple[tuple[int, float], ...]]

    units: NDArray[np.uint8]
    chunks: int
    full: int
    held: int
    nnz: int

    @classmethod
    def encode(cls, weight: Bits, workers: int, shared_bytes: int = SHARED_BYTES) -> LaneStreams:
        """Encode the bits of a matrix [m, k] for a GPU with so many multiprocessors, and so much shared memory for a block of
        threads; both zeros are dropped."""
        nnz = int(np.count_nonzero(weight << 1))
        density = nnz / weight.size
        kind = PairStreams if density <= PAIRED else ValueStreams
        *longer, shortest = (words for words, most in kind.batches if density <= most)
        for words in longer:
            made = kind.with_batches(weight, nnz, workers, words)
            if made.block_bytes(1)[0] + X_BYTES <= shared_bytes:
                return made
        return kind.with_batches(weight, nnz, workers, shortest)

    @classmethod
    def with_batches(cls, weight: Bits, nnz: int, workers: int, words: int, full: int = LANES) -> Self:
        """Encode a matrix with so many nonzeros in batches of so many steps, with so many whole rows at most."""
        m, k = weight.shape
        halves = halves_for(m, k, workers)
        partition = deal(cls._costs(weight, nnz, halves), workers, halves, words)
        full = min(full, cls._usual_chunks(nnz / weight.size, words))
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda each: cls._stream(weight, partition, each, full), range(partition.workers)))
        if full and sum(each.wasted for each in found) > WASTED * sum(len(each.units) for each in found):
            return cls.with_batches(weight, nnz, workers, words, full - 1)
        sizes = np.concatenate([each.sizes.ravel() for each in found])
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.uint32)
        units = np.concatenate([each.units for each in found])
        rows = np.concatenate([each.rows.ravel() for each in found])
        held = max(full, 1, min(MOST_HELD, int(np.quantile(rows, 1 - LATE, method="higher"))))
        return cls(m, k, partition, offsets, units, int(rows.max()), full, held, nnz)

    def decode(self) -> Bits:
        """The matrix."""
        return self.whole(self._read, _piece)

    def _read(self, offsets: Offsets) -> Bits:
        """The elements of a worker as `_elements` has them, from its units; the inverse of `_stream`."""
        units, begins, words = self.units, offsets[:-1], self.partition.batch
        header, chunk = words * LANES * 4 // UNIT, UNIT // self.item.itemsize
        masks = units[begins[:, None] + np.arange(header)].reshape(WARPS, -1, LANES, words, 4)
        bits = np.unpackbits(masks, axis=4).reshape(*masks.shape[:3], words, 4, 8).swapaxes(4, 5)
        nonzero = bits.reshape(*masks.shape[:3], WORD * words).astype(bool)
        before, taken = _taken(nonzero, chunk)
        warp, step, row, lane = _places(taken, self.full)
        items = np.zeros((WARPS, LANES, int((before + taken).max(initial=0)) + self.full, chunk), dtype=self.item)
        places = _unit_places(begins + header, np.maximum(taken, self.full).sum(axis=2))
        items[warp, lane, before[warp, step, lane] + row] = units[places].view(self.item)
        by_lane = nonzero.swapaxes(1, 2)
        there = np.arange(items.shape[2] * chunk) < by_lane.sum(axis=(2, 3))[:, :, None]
        elements = np.zeros(by_lane.shape, dtype=self.item)
        elements[by_lane] = items.reshape(there.shape)[there]
        return np.ascontiguousarray(elements.swapaxes(1, 2)).view(np.uint16)

    @property
    def macros(self) -> Mapping[str, int]:
        """What the kernel is to be compiled with for this matrix."""
        pairs = int(self.item.itemsize == 4)
        return {"PAIRS": pairs, "WORDS": self.partition.batch, "FULL": self.full, "HELD": self.held}

    def block_bytes(self, tiles: int) -> tuple[int, int]:
        """Shared memory of a block with sums of so many tiles of tokens; slots of a lane in it.

        A slot is a word; the sums of a group of rows pass through a warp's slots.
        """
        slots = max(self.slots, -(-self.partition.area_bytes(tiles) // (LANES * 4)))
        return WARPS * slots * LANES * 4, slots

    @property
    def slots(self) -> int:
        """Of a lane's items: one chunk from before, and what it takes in a batch at most."""
        return CHUNK_SLOTS * (self.chunks + 1)

    @classmethod
    def _costs(cls, weight: Bits, nnz: int, halves: int) -> NDArray[np.float64]:
        """Bytes of each step of each block, and a tenth of a byte per element for taking it apart: [blocks, steps]."""
        rows, step = ROWS * WARPS // halves, cls.columns * halves
        density = nnz / weight.size
        of_nonzero = cls.item.itemsize * cls._items(density) / density if nnz else 0.0
        of_element = TILE / cls.columns / 8 + 1 / 10
        return np.float64(of_nonzero) * nonzeros(weight, step, halves) + rows * step * of_element

    @classmethod
    def _items(cls, density: float) -> float:
        """For each element, how many there are of nonzeros at random places."""
        width = cls.item.itemsize // 2
        return (1 - (1 - density) ** width) / width

    @classmethod
    def _usual_chunks(cls, density: float, words: int) -> int:
        """That nearly each lane takes in a batch: about a standard deviation below the mean, of nonzeros at random places."""
        most, share = WORD * words, cls._items(density) * cls.item.itemsize / 2
        chunk = UNIT // cls.item.itemsize
        return max(0, int((most * share - 1.1 * sqrt(most * share * (1 - share))) / chunk - 0.25))

    @classmethod
    def _stream(cls, weight: Bits, partition: Partition, worker: int, full: int) -> _Stream:
        items = _elements(weight, partition, cls.columns, partition.parts(worker)).view(cls.item)
        nonzero = items != 0
        before, taken = _taken(nonzero, UNIT // items.itemsize)
        there = np.maximum(taken, full)
        header, counts = items.shape[3] * LANES // 8 // UNIT, there.sum(axis=2)
        sizes = -(-(header + counts) // LINE) * LINE
        begins = np.cumsum(sizes) - sizes.ravel()
        warp, step, row, lane = _places(taken, full)
        units = np.zeros((int(sizes.sum()), UNIT), dtype=np.uint8)
        units[begins[:, None] + np.arange(header)] = _masks(nonzero).view(np.uint8).reshape(-1, header, UNIT)
        chunks = _chunks(items, nonzero, warp, lane, before[warp, step, lane] + row)
        units[_unit_places(begins + header, counts)] = chunks.view(np.uint8)
        return _Stream(units, sizes, there.max(axis=2), int((there - taken).sum()))


@dataclass(frozen=True, slots=True)
class ValueStreams(LaneStreams):
    """Of values."""

    columns: ClassVar[int] = TILE
    item: ClassVar[np.dtype[np.unsignedinteger]] = np.dtype(np.uint16)
    batches: ClassVar[tuple[tuple[int, float], ...]] = ((4, 0.35), (2, 1.0), (1, 1.0))


@dataclass(frozen=True, slots=True)
class PairStreams(LaneStreams):
    """Of pairs."""

    columns: ClassVar[int] = 2 * TILE
    item: ClassVar[np.dtype[np.unsignedinteger]] = np.dtype(np.uint32)
    batches: ClassVar[tuple[tuple[int, float], ...]] = ((2, 1.0), (1, 1.0))


@dataclass(frozen=True, slots=True)
class _Stream:
    """Of a worker: its units, how many each batch of each warp has and in how many rows [warps, batches], and how many units are
    there only to make rows whole."""

    units: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    rows: NDArray[np.int64]
    wasted: int


def _elements(weight: Bits, partition: Partition, columns: int, parts: list[tuple[int, int, int]]) -> Bits:
    """The elements of a worker as lanes take them: [warps, batches, lanes, columns of a batch], zero outside of the matrix and
    the part; zeros are not negative."""
    groups, halves, words = partition.groups, partition.halves, partition.batch
    pieces = []
    for piece in partition.batched(weight, columns * halves, parts):
        # group, mt, b / 2, g | batch, word, half, tile, kt, h, t, b % 2
        split = piece.reshape(groups, 2, 2, 8, -1, words, halves, columns // TILE, 2, 2, 4, 2)
        ordered = split.transpose(6, 0, 4, 3, 10, 5, 7, 8, 1, 9, 2, 11)
        pieces.append(ordered.reshape(WARPS, -1, LANES, columns * words))
    found = np.concatenate(pieces, axis=1)
    found[found == NEGATIVE_ZERO] = 0
    return found


def _masks(nonzero: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Mask words [..., words] of items [..., 32 * words]."""
    bits = nonzero.reshape(*nonzero.shape[:-1], -1, 8, 4).swapaxes(-1, -2)
    return np.ascontiguousarray(np.packbits(bits, axis=-1)[..., 0]).view("<u4")[..., 0]


def _taken(nonzero: NDArray[np.bool_], chunk: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Chunks of so many items that lanes with these [warps, steps, lanes, 32 * words] have taken before each step, and take in it."""
    fetched = np.cumsum(nonzero.sum(axis=3, dtype=np.int64), axis=1) // chunk + 1  # for one item more than needed
    taken = np.diff(fetched, axis=1, prepend=0)
    return fetched - taken, taken


def _places(taken: NDArray[np.int64], full: int) -> tuple[NDArray[np.intp], ...]:
    """Of all units with items, in their order: warp, step, row, lane."""
    there = np.maximum(taken, full)[:, :, None, :]
    return np.nonzero(there > np.arange(int(there.max(initial=1)))[:, None])


def _unit_places(begins: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of `counts[i]` units from `begins[i]` on, for all i in order."""
    before = np.cumsum(counts) - counts.ravel()
    found: NDArray[np.int64] = np.repeat(begins - before, counts.ravel()) + np.arange(int(counts.sum()))
    return found


def _chunks(
    items: NDArray[np.unsignedinteger],
    nonzero: NDArray[np.bool_],
    warp: NDArray[np.intp],
    lane: NDArray[np.intp],
    chunk: NDArray[np.int64],
) -> NDArray[np.unsignedinteger]:
    """Chunk number `chunk[i]` of lane `lane[i]` of warp `warp[i]`, for all i; zeros behind a lane's last item."""
    by_lane = nonzero.swapaxes(1, 2)
    kept, size = items.swapaxes(1, 2)[by_lane], UNIT // items.itemsize
    totals = by_lane.sum(axis=(2, 3)).ravel()
    begins = np.cumsum(totals) - totals
    which = warp * items.shape[2] + lane
    inside = chunk[:, None] * size + np.arange(size)
    exists = inside < totals[which][:, None]
    places = np.where(exists, begins[which][:, None] + inside, 0)
    padded = kept if kept.size else np.zeros(1, dtype=items.dtype)
    return np.where(exists, padded[places], items.dtype.type(0))


def _piece(elements: Bits, partition: Partition) -> Bits:
    """The rows of a block for batches [WARPS, batches, lanes, columns of a batch]; the inverse of `_elements`."""
    groups, halves, words = partition.groups, partition.halves, partition.batch
    # half, group, batch, g, t | word, tile, kt, mt, h, b / 2, b % 2
    split = elements.reshape(halves, groups, elements.shape[1], 8, 4, words, -1, 2, 2, 2, 2, 2)
    return split.transpose(1, 8, 10, 3, 2, 5, 0, 6, 7, 9, 4, 11).reshape(partition.rows, -1)
