"""Group-sparse streams of four bits a value: groups of 16 neighbours in a row are there or not (GQSA: Zeng et al., 2024).

A warp has 32 rows and its part of the columns of a step, which are 128 and share a scale in each row. Lane 4 g + t has the
groups of rows 16 mt + 8 h + g and columns 64 p + 16 t and on:

* 32 bytes of masks, one for each lane: bit 4 p + 2 mt + h is of such a group;
* 128 bytes of scales, float32: for each g of rows g, g + 8, g + 16, g + 24;
* the groups that are there, 8 bytes each, those of lane 0 first, in the order of their bits. Of four columns that go
  together in `mma.m16n8k16`, 2 i and 2 i + 1 are 16 bits apart, the two pairs 8; the four after them are in the upper
  bits. All are plus 8. After an odd number of groups eight bytes are left free.

So a lane has all of a group, and of X the same 16 columns: which four of a lane's columns go together is the same for both.
Bytes per element: 5/128, and density of groups / 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.products.device_cost import Kernel
from sparsec.cuda.streams.four_bits import GROUP, Numbers, Scales, check, whole
from sparsec.cuda.streams.partition import ROWS, WARPS, Partition, deal, halves_for
from sparsec.cuda.streams.uneven_steps import Offsets, UnevenSteps

SIDE = 16  # columns of a group
UNIT = 16  # bytes
HEADER = (32 + 128) // 8  # words of 8 bytes
NONE = 0x8888888888888888  # a group of zeros

Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class W4GroupStreams(UnevenSteps):
    """A matrix [m, k] of whole numbers from -8 to 7 times the scale of each row and 128 columns.

    `units` is uint8 [units, 16].
    """

    kernel: ClassVar[Kernel] = "w4_group_mma"
    columns: ClassVar[int] = GROUP

    units: NDArray[np.uint8]
    step_units: int  # of a step, at most

    @classmethod
    def encode(cls, numbers: Numbers, scales: Scales, workers: int) -> W4GroupStreams:
        """Encode numbers [m, k] and scales [m, groups of 128] for a GPU with so many multiprocessors.

        Raises `InputError` for what has other shapes or numbers.
        """
        check(numbers, scales)
        m, k = numbers.shape
        halves = halves_for(m, k, workers)
        partition = deal(_costs(numbers, halves), workers, halves)
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda each: _worker(numbers, scales, partition, each), range(partition.workers)))
        sizes = np.concatenate([sizes for sizes, _ in found])
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.uint32)
        units = np.concatenate([words for _, words in found]).view(np.uint8).reshape(-1, UNIT)
        return cls(m, k, partition, offsets, units, int(sizes.max()))

    def decode(self) -> tuple[Numbers, Scales]:
        """The numbers and the scales, from what lanes load."""
        partition = self.partition

        def parts(worker: int, offsets: Offsets) -> list[tuple[Numbers, Scales]]:
            groups, factors = self._steps(offsets)
            split = zip(partition.split(worker, groups, axis=1), partition.split(worker, factors, axis=1), strict=True)
            return [_rows(*part, partition) for part in split]

        return whole(self, [parts(worker, offsets) for worker, offsets in enumerate(self.offsets_of_workers())])

    def _steps(self, offsets: Offsets) -> tuple[Words, Scales]:
        """Groups [warps, steps, g, 32] and scales [warps, steps, g, 4] of a worker, whose steps begin there."""
        words = self.units[offsets[0] : offsets[-1]].reshape(-1).view(np.uint64)
        begins = 2 * (offsets[:-1] - offsets[0])
        masks = words[begins[:, None] + np.arange(4)].view(np.uint8)
        kept = np.unpackbits(masks, axis=1, bitorder="little").astype(bool)
        counts = kept.sum(axis=1)
        groups = np.full(kept.shape, NONE, dtype=np.uint64)
        groups[kept] = words[
            np.repeat(begins + HEADER - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        ]
        scales = words[begins[:, None] + np.arange(4, HEADER)].view(np.float32)
        return groups.reshape(WARPS, -1, 8, 32), scales.reshape(WARPS, -1, 8, 4)

    @property
    def macros(self) -> Mapping[str, int]:
        """What the kernel is to be compiled with for this matrix."""
        return {"UNITS": self.padded_units}

    @property
    def padded_units(self) -> int:
        """Units that a step has place for."""
        return -(-self.step_units // 32) * 32

    def block_bytes(self, tiles: int) -> tuple[int, int]:
        """Shared memory of a block with a step of each warp and sums of so many tiles of tokens; no slots of lanes in it."""
        areas = self.partition.groups * self.partition.area_bytes(tiles)
        return WARPS * self.padded_units * UNIT + areas, 0


def _costs(numbers: Numbers, halves: int) -> NDArray[np.float64]:
    """Bytes of each step of each block, and as many as 64 groups have for taking it apart: [blocks, steps]."""
    m, k = numbers.shape
    rows, columns = ROWS * WARPS // halves, GROUP * halves
    kept = np.logical_or.reduceat(numbers != 0, np.arange(0, k, SIDE), axis=1)
    by_step = np.add.reduceat(kept, np.arange(0, kept.shape[1], columns // SIDE), axis=1, dtype=np.int64)
    return 8.0 * np.add.reduceat(by_step, np.arange(0, m, rows), axis=0) + WARPS * (8 * HEADER + 8 * 64)


def _worker(numbers: Numbers, scales: Scales, partition: Partition, worker: int) -> tuple[NDArray[np.int64], Words]:
    """Units of each step of each warp, and all of them in words of 8 bytes."""
    pieces = [_segment(numbers, scales, partition, *part) for part in partition.parts(worker)]
    groups, factors = (np.concatenate(each, axis=1) for each in zip(*pieces, strict=True))
    steps = WARPS * groups.shape[1]
    groups = groups.reshape(steps, 256)
    kept = groups != NONE
    counts = kept.sum(axis=1)
    sizes = HEADER // 2 + -(-counts // 2)
    begins = 2 * (np.cumsum(sizes) - sizes)
    words = np.zeros(2 * sizes.sum(), dtype=np.uint64)
    masks = np.packbits(kept.reshape(steps, 8, 32), axis=2, bitorder="little")
    words[begins[:, None] + np.arange(4)] = masks.reshape(steps, 32).view(np.uint64)
    words[begins[:, None] + np.arange(4, HEADER)] = np.ascontiguousarray(factors).reshape(steps, 32).view(np.uint64)
    step, _ = np.nonzero(kept)
    words[begins[step] + HEADER + np.arange(len(step)) - (np.cumsum(counts) - counts)[step]] = groups[kept]
    return sizes, words


def _segment(
    numbers: Numbers, scales: Scales, partition: Partition, block: int, first: int, last: int
) -> tuple[Words, Scales]:
    """Groups [warps, steps, g, 32] and scales [warps, steps, g, 4] of a segment."""
    halves, count = partition.halves, last - first
    piece = partition.piece(numbers, GROUP * halves, block, first, last).astype(np.uint8) + np.uint8(8)
    # rows, mt, h, g | step, half, 64 columns, t, eight columns, four of them, two of them, one of them
    split = piece.reshape(partition.groups, 2, 2, 8, count, halves, 2, 4, 2, 2, 2, 2)
    nibbles = split.transpose(5, 0, 4, 3, 7, 6, 1, 2, 8, 11, 10, 9)
    packed = nibbles[..., 0] | nibbles[..., 1] << 4
    groups = np.ascontiguousarray(packed).reshape(-1).view(np.uint64).reshape(WARPS, count, 8, 32)
    factors = partition.piece(scales, halves, block, first, last).reshape(partition.groups, 2, 2, 8, count, halves)
    return groups, factors.transpose(5, 0, 4, 3, 1, 2).reshape(WARPS, count, 8, 4)


def _rows(groups: Words, factors: Scales, partition: Partition) -> tuple[Numbers, Scales]:
    """The numbers and scales of a segment: the inverse of `_segment`."""
    halves, count = partition.halves, groups.shape[1]
    packed = np.ascontiguousarray(groups).view(np.uint8)
    nibbles = np.stack([packed & 15, packed >> 4], axis=-1).astype(np.int8) - np.int8(8)
    # half, rows, step, g, t, 64 columns, mt, h | eight columns, one of them, two of them, four of them
    split = nibbles.reshape(halves, partition.groups, count, 8, 4, 2, 2, 2, 2, 2, 2, 2)
    numbers = split.transpose(1, 6, 7, 3, 2, 0, 5, 4, 8, 11, 10, 9).reshape(partition.rows, -1)
    scales = factors.reshape(halves, partition.groups, count, 8, 2, 2).transpose(1, 4, 5, 3, 2, 0)
    return numbers, scales.reshape(partition.rows, -1)
