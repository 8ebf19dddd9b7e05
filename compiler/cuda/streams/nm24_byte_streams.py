"""2:4 streams of eight bits a value, int8 or float8: as `nm24_streams`, but a step is 128 columns of a warp.

Eight columns and their four values take the place of four columns of 16 bits and their two values, so fragments are the same
bytes. There are twice as many indices, 512 bytes before the values: for each 64 columns, of `mma.sp.m16n8k64`, and each 16
rows (mt) a word of each lane, eight groups of four bits. With g = lane / 4, t = lane % 4 it is of row g + 8 (t % 2) and
columns 32 (t / 2) and on. Bytes per element: 5/8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.products.device_cost import Kernel
from sparsec.cuda.streams import equal_steps, two_of_four
from sparsec.cuda.streams.equal_steps import EqualSteps
from sparsec.cuda.streams.nm24_streams import fragments, values_of
from sparsec.cuda.streams.partition import ROWS, WARPS, Partition

STEP = 128  # columns of a warp
INDEX_BYTES = 512  # of a step

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Nm24ByteStreams(EqualSteps):
    """A matrix [m, k] of numbers of eight bits, kept as bits, of which only 0 is zero."""

    kernel: ClassVar[Kernel] = "nm24_mma"
    columns: ClassVar[int] = STEP
    step_bytes: ClassVar[int] = INDEX_BYTES + STEP * ROWS // 2

    @classmethod
    def encode(cls, weight: Bytes, workers: int) -> Nm24ByteStreams:
        """Encode the bits of a matrix [m, k] for a GPU with so many multiprocessors; raises `ModelError`."""
        m, k = weight.shape
        partition = cls.dealt(m, k, workers)
        units = equal_steps.encode(partition, lambda *part: _steps(weight, partition, *part))
        return cls(m, k, partition, units)

    def decode(self) -> Bytes:
        """The matrix, from the fragments that lanes load."""
        return equal_steps.whole(self, np.uint8, _matrix)


def index_words(index: NDArray[np.uint16]) -> NDArray[np.uint32]:
    """Of the places [..., groups] of pairs, a word for each eight groups [..., groups / 8]."""
    words: NDArray[np.uint32] = (
        index.astype(np.uint32).reshape(*index.shape[:-1], -1, 8) << (4 * np.arange(8, dtype=np.uint32))
    ).sum(axis=-1, dtype=np.uint32)
    return words


def index_of(words: NDArray[np.uint32]) -> NDArray[np.uint16]:
    """The inverse of `index_words`."""
    index = words[..., None] >> (4 * np.arange(8, dtype=np.uint32)) & 15
    return index.astype(np.uint16).reshape(*words.shape[:-1], -1)


def _steps(weight: Bytes, partition: Partition, block: int, first: int, last: int) -> Bytes:
    """The bytes of a segment: [warps, steps, bytes of a step]."""
    halves, count = partition.halves, last - first
    piece = partition.piece(weight, STEP * halves, block, first, last)
    values, index = two_of_four.pairs(piece, block * partition.rows, first * STEP * halves)
    # group of rows, mt, h, g | step, half, 64 columns, 32 of them
    words = index_words(index).reshape(partition.groups, 2, 2, 8, count, halves, 2, 2)
    ordered = np.ascontiguousarray(
        words.transpose(5, 0, 4, 3, 7, 2, 6, 1)
    )  # half, rows, step, g, 32 columns, h, 64, mt
    doubled = values.reshape(partition.rows, -1).view(np.uint16).reshape(partition.rows, -1, 2)
    return np.concatenate(
        [ordered.view(np.uint8).reshape(WARPS, count, INDEX_BYTES), fragments(doubled, partition)], axis=2
    )


def _matrix(steps: Bytes, partition: Partition) -> Bytes:
    """The rows of a segment: the inverse of `_steps`."""
    count, groups, halves = steps.shape[1], partition.groups, partition.halves
    words = (
        np.ascontiguousarray(steps[:, :, :INDEX_BYTES]).view(np.uint32).reshape(halves, groups, count, 8, 2, 2, 2, 2)
    )
    index = index_of(words.transpose(1, 7, 5, 3, 2, 0, 6, 4).reshape(partition.rows, -1))
    values = values_of(steps[:, :, INDEX_BYTES:], partition)
    return two_of_four.matrix(values.reshape(partition.rows, -1).view(np.uint8).reshape(*index.shape, 2), index)
