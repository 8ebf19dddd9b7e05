"""2:4 streams: a matrix with at most two nonzeros in each group of four, as sparse tensor cores' lanes take it.

A warp has 32 rows and its part of the columns of a step, which are 64: 256 bytes of indices, then the two values of each
group, a fragment of `mma.sp.m16n8k32` after the other (32 columns; 16 rows: mt), 16 bytes for a lane.

With g = lane / 4, t = lane % 4, h: rows g or g + 8, a lane holds groups t and t + 4 (c)
in registers 2 c + h; its index words, one for each mt, are of 32 columns t / 2, groups 4 (t % 2) and on.

Bytes per element: 9/8, two more than 9/16 of dense for nothing: no padding within.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.products.device_cost import Kernel
from sparsec.cuda.streams import equal_steps, two_of_four
from sparsec.cuda.streams.equal_steps import EqualSteps
from sparsec.cuda.streams.partition import ROWS, WARPS, Partition

LANES = 32
STEP = 64  # columns of a warp

Bits = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Nm24Streams(EqualSteps):
    """A matrix [m, k] of 16-bit floating-point numbers, kept as bits."""

    kernel: ClassVar[Kernel] = "nm24_mma"
    columns: ClassVar[int] = STEP
    step_bytes: ClassVar[int] = STEP * ROWS * 9 // 8

    @classmethod
    def encode(cls, weight: Bits, workers: int) -> Nm24Streams:
        """Encode the bits of a matrix [m, k] for a GPU with so many multiprocessors; raises `ModelError`."""
        m, k = weight.shape
        partition = cls.dealt(m, k, workers)
        units = equal_steps.encode(partition, lambda *part: _steps(weight, partition, *part))
        return cls(m, k, partition, units)

    def decode(self) -> Bits:
        """The matrix, from the fragments that lanes load."""
        return equal_steps.whole(self, np.uint16, _matrix)


def _steps(weight: Bits, partition: Partition, block: int, first: int, last: int) -> NDArray[np.uint8]:
    """The bytes of a segment: [warps, steps, bytes of a step]."""
    step = STEP * partition.halves
    piece = partition.piece(weight, step, block, first, last)
    values, index = two_of_four.pairs(piece, block * partition.rows, first * step)
    # group of rows, mt, h, g | step, half of it, 32 columns, c (or j), t | value
    shape = (partition.groups, 2, 2, 8, last - first, partition.halves, 2, 2, 4)
    index = index.reshape(shape)
    shifted = index.astype(np.uint32) << (4 * np.arange(4, dtype=np.uint32))
    words = shifted.sum(axis=8, dtype=np.uint32)  # rows, mt, h, g, step, half, 32 columns, j
    words = words[:, :, 0] | words[:, :, 1] << 16
    words = words.transpose(4, 0, 3, 2, 5, 6, 1)  # half, rows, step, g, 32 columns, j, mt
    return np.concatenate(
        [np.ascontiguousarray(words).view(np.uint8).reshape(WARPS, last - first, -1), fragments(values, partition)],
        axis=2,
    )


def fragments(values: NDArray[np.uint16], partition: Partition) -> NDArray[np.uint8]:
    """The values [rows, groups, 2] of a segment as lanes take them: [warps, steps, bytes]."""
    halves = partition.halves
    ordered = values.reshape(partition.groups, 2, 2, 8, -1, halves, 2, 2, 4, 2)
    ordered = ordered.transpose(5, 0, 4, 6, 1, 3, 8, 7, 2, 9)  # half, rows, step, 32 columns, mt, g, t, c, h, value
    return np.ascontiguousarray(ordered).view(np.uint8).reshape(WARPS, ordered.shape[2], -1)


def values_of(bytes_: NDArray[np.uint8], partition: Partition) -> NDArray[np.uint16]:
    """The inverse of `fragments`: [rows, groups of the segment, 2]."""
    halves, count = partition.halves, bytes_.shape[1]
    values = np.ascontiguousarray(bytes_).view(np.uint16)
    values = values.reshape(halves, partition.groups, count, 2, 2, 8, 4, 2, 2, 2)
    values = values.transpose(1, 4, 8, 5, 2, 0, 3, 7, 6, 9)  # rows, mt, h, g, step, half, 32 columns, c, t, value
    return values.reshape(partition.rows, count * STEP * halves // 4, 2)


def _matrix(steps: NDArray[np.uint8], partition: Partition) -> Bits:
    """The rows of a segment: the inverse of `_steps`."""
    count, groups, halves = steps.shape[1], partition.groups, partition.halves
    words = np.ascontiguousarray(steps[:, :, :256]).view(np.uint32).reshape(halves, groups, count, 8, 2, 2, 2)
    words = words.transpose(1, 6, 3, 2, 0, 4, 5)  # rows, mt, g, step, half, 32 columns, j
    words = np.stack([words & 0xFFFF, words >> 16], axis=2)
    index = words[..., None] >> (4 * np.arange(4, dtype=np.uint32)) & 15
    values = values_of(steps[:, :, 256:], partition)
    return two_of_four.matrix(values, index.reshape(values.shape[:2]).astype(np.uint16))
