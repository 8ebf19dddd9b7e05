"""Lane streams: an unstructured matrix as the tensor cores' lanes take it, a bit per element and the nonzero values.

A warp has 32 rows and 32 columns of a step. Of a batch of steps, at most 1, 2 or 4, it has a mask word of each lane for each, then
values. A lane holds the elements of the fragments of `mma.m16n8k16` (and of `wgmma`) that it feeds, 32 for a
mask word, and consumes its nonzeros one after the other, in chunks of eight. In a batch, each lane takes the chunks that it
lacks: the first of all lanes are a row, in order, then the second of those that take two, and so on. The first `full` rows
are whole: a lane that lacks fewer is given what it takes later, and does not count it. So a stream has no pointers, and is
read front to back.

Bytes per element: 1/8 + 2 x density (bitmap and values), a twentieth more at most for whole rows, and half a chunk for each
lane at the end of a worker's part.

Of a mask word, bit 7 - s of byte b is element b of the lane's s-th group of four: rows g (b < 2) or g + 8 and columns c,
c + 1, where g = lane / 4 and s = 4 * (16 columns: kt) + 2 * (16 rows: mt) + h, c = 16 * kt + 8 * h + 2 * (lane % 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.products.device_cost import Kernel
from sparsec.cuda.streams.partition import ROWS, WARPS, Partition, deal, halves_for, nonzeros
from sparsec.cuda.streams.uneven_steps import Bits, Offsets, UnevenSteps

LANES = 32
WORD = 32  # columns of a mask word
CHUNK = 8  # values
UNIT = 16  # bytes
X_BYTES = 32 << 10  # of shared memory, that X should have beside the values
SHARED_BYTES = 227 << 10  # of an H100, for a block of threads
WORDS = ((4, 0.35), (2, 1.0), (1, 1.0))  # of a batch, up to a density: longer batches cost less, shorter ones fit
WASTED = 0.05  # of the units, at most, to have whole rows
MOST_HELD = 7  # chunks of a lane that are loaded ahead, as registers allow
LATE = 0.03  # of the batches of warps, those that may have more


@dataclass(frozen=True, slots=True)
class LaneStreams(UnevenSteps):
    """A matrix [m, k] of 16-bit floating-point numbers, kept as bits.

    `units` is uint8 [units, 16]. `chunks` is the most that a lane takes in a batch, `full` how many all take, `held` how many are
    loaded before the batch.
    """

    kernel: ClassVar[Kernel] = "bitmap_mma"
    columns: ClassVar[int] = WORD

    units: NDArray[np.uint8]
    chunks: int
    full: int
    held: int
    nnz: int

    @classmethod
    def encode(cls, weight: Bits, workers: int, shared_bytes: int = SHARED_BYTES) -> LaneStreams:
        """Encode the bits of a matrix [m, k] for a GPU with so many multiprocessors, and so much shared memory for a block of
        threads; both zeros are dropped."""
        m, k = weight.shape
        nnz = int(np.count_nonzero(weight << 1))
        density = nnz / (m * k)
        for words, most in WORDS[:-1]:
            if density <= most:
                made = cls._with_steps(weight, nnz, workers, words, _usual_chunks(density, words))
                if made.block_bytes(1)[0] + X_BYTES <= shared_bytes:
                    return made
        return cls._with_steps(weight, nnz, workers, 1, _usual_chunks(density, 1))

    @classmethod
    def _with_steps(cls, weight: Bits, nnz: int, workers: int, words: int, full: int) -> LaneStreams:
        m, k = weight.shape
        halves = halves_for(m, k, workers)
        partition = deal(_costs(weight, halves), workers, halves, words)
        with ThreadPoolExecutor() as pool:
            parts = map(partition.parts, range(partition.workers))
            found = list(pool.map(lambda each: _streams(_elements(weight, partition, each), full), parts))
        if full and sum(each.wasted for each in found) > WASTED * sum(len(each.units) for each in found):
            return cls._with_steps(weight, nnz, workers, words, full - 1)
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
        """The elements of a worker as `_elements` has them, from its units; the inverse of `_streams`."""
        units, count, words = self.units[offsets[0] : offsets[-1]], len(offsets) // WARPS, self.partition.batch
        header = words * LANES * 4 // UNIT
        is_header = np.zeros(len(units), dtype=bool)
        is_header[offsets[:-1, None] - offsets[0] + np.arange(header)] = True
        masks = units[is_header].reshape(WARPS, count, LANES, words, 4)
        bits = np.unpackbits(masks, axis=4).reshape(WARPS, count, LANES, words, 4, 8).swapaxes(4, 5)
        nonzero = bits.reshape(WARPS, count, LANES, WORD * words).astype(bool)
        before, taken = _taken(nonzero)
        warp, step, row, lane = _places(taken, self.full)
        values = np.zeros((WARPS, LANES, int((before + taken).max(initial=0)) + self.full, CHUNK), dtype=np.uint16)
        values[warp, lane, before[warp, step, lane] + row] = units[~is_header].view(np.uint16)
        by_lane = nonzero.swapaxes(1, 2)
        there = np.arange(values.shape[2] * CHUNK) < by_lane.sum(axis=(2, 3))[:, :, None]
        elements = np.zeros(by_lane.shape, dtype=np.uint16)
        elements[by_lane] = values.reshape(there.shape)[there]
        return elements.swapaxes(1, 2)

    @property
    def macros(self) -> Mapping[str, int]:
        """What the kernel is to be compiled with for this matrix."""
        return {"WORDS": self.partition.batch, "FULL": self.full, "HELD": self.held}

    def block_bytes(self, tiles: int) -> tuple[int, int]:
        """Shared memory of a block with sums of so many tiles of tokens; slots of a lane in it.

        A slot is a value; the sums of a group of rows pass through a warp's slots.
        """
        slots = max(self.slots, -(-self.partition.area_bytes(tiles) // (LANES * 4)))
        return WARPS * slots * LANES * 4, slots

    @property
    def slots(self) -> int:
        """Of a lane's values: one chunk from before, and what it takes in a batch at most."""
        return CHUNK * (self.chunks + 1)


def _costs(weight: Bits, halves: int) -> NDArray[np.float64]:
    """Bytes of each step of each block, and a tenth of a byte per element for taking it apart: [blocks, steps]."""
    rows, step = ROWS * WARPS // halves, WORD * halves
    return np.float64(2.0) * nonzeros(weight, step, halves) + rows * step * (1 / 8 + 1 / 10)


def _elements(weight: Bits, partition: Partition, parts: list[tuple[int, int, int]]) -> Bits:
    """The elements of a worker as lanes take them: [warps, batches, lanes, 32 * words], zero outside of the matrix and the part."""
    groups, halves, words = partition.groups, partition.halves, partition.batch
    pieces = []
    for piece in partition.batched(weight, WORD * halves, parts):
        # group, mt, b / 2, g | batch, word, half, kt, h, t, b % 2
        split = piece.reshape(groups, 2, 2, 8, -1, words, halves, 2, 2, 4, 2)
        ordered = split.transpose(6, 0, 4, 3, 9, 5, 7, 1, 8, 2, 10)
        pieces.append(ordered.reshape(WARPS, -1, LANES, WORD * words))
    return np.concatenate(pieces, axis=1)


def _masks(nonzero: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Mask words [..., words] of elements [..., 32 * words]."""
    bits = nonzero.reshape(*nonzero.shape[:-1], -1, 8, 4).swapaxes(-1, -2)
    return np.ascontiguousarray(np.packbits(bits, axis=-1)[..., 0]).view("<u4")[..., 0]


@dataclass(frozen=True, slots=True)
class _Streams:
    """Of a worker: its units, how many each batch of each warp has and in how many rows [warps, batches], and how many units are
    there only to make rows whole."""

    units: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    rows: NDArray[np.int64]
    wasted: int


def _usual_chunks(density: float, words: int) -> int:
    """That nearly each lane takes in a batch: about a standard deviation below the mean, of values at random places."""
    values = WORD * words
    return max(0, int((values * density - 1.1 * sqrt(values * density * (1 - density))) / CHUNK - 0.25))


def _taken(nonzero: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Chunks that lanes with these elements [warps, steps, lanes, 32 * words] have taken before each step, and take in it."""
    fetched = np.cumsum(nonzero.sum(axis=3, dtype=np.int64), axis=1) // CHUNK + 1  # for one value more than needed
    taken = np.diff(fetched, axis=1, prepend=0)
    return fetched - taken, taken


def _places(taken: NDArray[np.int64], full: int) -> tuple[NDArray[np.intp], ...]:
    """Of all units with values, in their order: warp, step, row, lane."""
    there = np.maximum(taken, full)[:, :, None, :]
    return np.nonzero(there > np.arange(int(there.max(initial=1)))[:, None])


def _streams(elements: Bits, full: int) -> _Streams:
    _, _, lanes, width = elements.shape
    nonzero = (elements << 1) != 0
    before, taken = _taken(nonzero)
    there = np.maximum(taken, full)
    header = width * lanes // 8 // UNIT
    sizes = header + there.sum(axis=2)
    warp, step, row, lane = _places(taken, full)
    begins = np.cumsum(sizes.ravel()) - sizes.ravel()
    is_header = np.zeros(int(sizes.sum()), dtype=bool)
    is_header[begins[:, None] + np.arange(header)] = True
    units = np.empty((is_header.size, UNIT), dtype=np.uint8)
    units[is_header] = _masks(nonzero).view(np.uint8).reshape(-1, UNIT)
    values = _chunks(elements, nonzero, warp, lane, before[warp, step, lane] + row)
    units[~is_header] = values.view(np.uint8)
    return _Streams(units, sizes, there.max(axis=2), int((there - taken).sum()))


def _chunks(
    elements: Bits,
    nonzero: NDArray[np.bool_],
    warp: NDArray[np.intp],
    lane: NDArray[np.intp],
    chunk: NDArray[np.int64],
) -> Bits:
    """Chunk number `chunk[i]` of lane `lane[i]` of warp `warp[i]`, for all i; zeros behind a lane's last value."""
    by_lane = nonzero.swapaxes(1, 2)
    values = elements.swapaxes(1, 2)[by_lane]
    totals = by_lane.sum(axis=(2, 3)).ravel()
    begins = np.cumsum(totals) - totals
    which = warp * elements.shape[2] + lane
    inside = chunk[:, None] * CHUNK + np.arange(CHUNK)
    exists = inside < totals[which][:, None]
    places = np.where(exists, begins[which][:, None] + inside, 0)
    padded = values if values.size else np.zeros(1, dtype=np.uint16)
    return np.where(exists, padded[places], np.uint16(0)).astype(np.uint16)


def _piece(elements: Bits, partition: Partition) -> Bits:
    """The rows of a block for batches [WARPS, batches, lanes, 32 * words]; the inverse of `_elements`."""
    groups, halves, batches = partition.groups, partition.halves, elements.shape[1]
    # half, group, batch, g, t | word, kt, mt, h, b / 2, b % 2
    split = elements.reshape(halves, groups, batches, 8, 4, partition.batch, 2, 2, 2, 2, 2)
    return split.transpose(1, 7, 9, 3, 2, 5, 0, 6, 8, 4, 10).reshape(partition.rows, -1)
