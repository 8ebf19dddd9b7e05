"""2:4 streams of four bits a value: a matrix of small whole numbers with scales, as sparse tensor cores' lanes take it.

A warp has 32 rows and its part of the columns of a step, which are 128, a group that shares a scale in each row:

* 512 bytes of indices, for each 64 columns and each 16 rows (mt) a word of each lane as in `nm24_streams`;
* 1024 bytes of numbers, for each 32 columns and each 16 rows a word of each lane, 16 bytes for 64 columns: bits 4 r and on are
  the first number of register r of the fragment, plus 8, and bits 16 + 4 r and on the second;
* 128 bytes of scales, float32: for g = lane / 4, of rows g, g + 8, g + 16, g + 24.

Bytes per element: 13/32, of which the scales are 1/32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.products.device_cost import Kernel
from sparsec.cuda.streams import equal_steps, two_of_four
from sparsec.cuda.streams.equal_steps import EqualSteps
from sparsec.cuda.streams.four_bits import GROUP, Numbers, Scales, check, whole
from sparsec.cuda.streams.partition import WARPS, Partition

STEP_BYTES = 512 + 1024 + 128


@dataclass(frozen=True, slots=True)
class W4Nm24Streams(EqualSteps):
    """A matrix [m, k] of whole numbers from -8 to 7 times the scale of each row and 128 columns."""

    kernel: ClassVar[Kernel] = "w4_nm24_mma"
    columns: ClassVar[int] = GROUP
    step_bytes: ClassVar[int] = STEP_BYTES

    @classmethod
    def encode(cls, numbers: Numbers, scales: Scales, workers: int) -> W4Nm24Streams:
        """Encode numbers [m, k] and scales [m, groups] for a GPU with so many multiprocessors.

        Raises `ModelError` if more than two of four numbers are not zero, `InputError` for what has other shapes or numbers.
        """
        check(numbers, scales)
        m, k = numbers.shape
        partition = cls.dealt(m, k, workers)
        units = equal_steps.encode(partition, lambda *part: _steps(numbers, scales, partition, *part))
        return cls(m, k, partition, units)

    def decode(self) -> tuple[Numbers, Scales]:
        """The numbers and the scales, from what lanes load."""
        partition = self.partition
        found = [[_matrix(steps, partition) for steps in self.segments(each)] for each in range(partition.workers)]
        return whole(self, found)


def _steps(
    numbers: Numbers, scales: Scales, partition: Partition, block: int, first: int, last: int
) -> NDArray[np.uint8]:
    """The bytes of a segment: [warps, steps, bytes of a step]."""
    halves, count = partition.halves, last - first
    inside = partition.piece(numbers, GROUP * halves, block, first, last)
    piece = np.where(inside == 0, 0, (inside + 8) | 16).astype(np.uint16)
    factors = partition.piece(scales, halves, block, first, last)
    values, index = two_of_four.pairs(piece, block * partition.rows, first * GROUP * halves)
    nibbles = np.where(values == 0, 8, values & 15).astype(np.uint32)
    # group of rows, mt, h, g | step, half, 64 columns, 32 of them, c (or j), t | value
    shape = (partition.groups, 2, 2, 8, count, halves, 2, 2, 2, 4)
    shifts = 4 * np.arange(4).reshape(2, 2, 1) + 16 * np.arange(2)  # c, h, value
    ordered = nibbles.reshape(*shape, 2).transpose(
        5, 0, 4, 6, 3, 9, 7, 1, 8, 2, 10
    )  # ..., g, t, 32 columns, mt, c, h, value
    words = (ordered << shifts.astype(np.uint32)).sum(axis=(8, 9, 10), dtype=np.uint32)
    places = (index.astype(np.uint32).reshape(shape) << (4 * np.arange(4, dtype=np.uint32))).sum(
        axis=9, dtype=np.uint32
    )
    places = places[:, :, 0] | places[:, :, 1] << 16  # rows, mt, g, step, half, 64 columns, 32 of them, j
    indices = places.transpose(4, 0, 3, 2, 6, 7, 5, 1)
    by_lane = factors.reshape(partition.groups, 2, 2, 8, count, halves).transpose(5, 0, 4, 3, 1, 2)
    pieces = (indices, words, by_lane)
    return np.concatenate(
        [np.ascontiguousarray(each).view(np.uint8).reshape(WARPS, count, -1) for each in pieces], axis=2
    )


def _matrix(steps: NDArray[np.uint8], partition: Partition) -> tuple[Numbers, Scales]:
    """The numbers and scales of a segment: the inverse of `_steps`."""
    count, groups, halves = steps.shape[1], partition.groups, partition.halves
    indices, words, factors = (
        np.ascontiguousarray(steps[:, :, begin:end]).view(np.uint32)
        for begin, end in ((0, 512), (512, 1536), (1536, STEP_BYTES))
    )
    scales = factors.view(np.float32).reshape(halves, groups, count, 8, 2, 2).transpose(1, 4, 5, 3, 2, 0)
    shifts = (4 * np.arange(4).reshape(2, 2, 1) + 16 * np.arange(2)).astype(np.uint32)
    nibbles = words.reshape(halves, groups, count, 2, 8, 4, 2, 2, 1, 1, 1) >> shifts & 15
    values = nibbles.transpose(1, 7, 9, 4, 2, 0, 3, 6, 8, 5, 10)  # rows, mt, h, g, step, half, 64, 32, c, t, value
    places = indices.reshape(halves, groups, count, 8, 2, 2, 2, 2).transpose(1, 7, 3, 2, 0, 6, 4, 5)
    index = np.stack([places & 0xFFFF, places >> 16], axis=2)[..., None] >> (4 * np.arange(4, dtype=np.uint32)) & 15
    shape = partition.rows, count * GROUP * halves // 4
    kept = (values.reshape(*shape, 2) + 1).astype(np.uint16)  # so that none is zero
    matrix = two_of_four.matrix(kept, index.reshape(shape).astype(np.uint16)).astype(np.int16)
    return np.where(matrix == 0, 0, matrix - 9).astype(np.int8), scales.reshape(partition.rows, count * halves)
