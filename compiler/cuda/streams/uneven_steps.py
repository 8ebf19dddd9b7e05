"""Streams whose steps have as many bytes as they need, and offsets that say where each begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.streams.partition import WARPS, Partition
from sparsec.cuda.streams.steps import Steps

Bits = NDArray[np.uint16]
Offsets = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class UnevenSteps(Steps):
    """A matrix [m, k] in such a stream of `units`.

    `offsets[i]` is where the units of batch i of steps begin: those of a worker's first warp, in order, then those of its second,
    and so on.
    """

    offsets: NDArray[np.uint32]
    units: NDArray[np.unsignedinteger]

    def offsets_of_workers(self) -> list[Offsets]:
        """Of each worker, where its batches begin, and where the last one ends: [WARPS * batches + 1]."""
        numbers = (self.partition.batches_before() * WARPS).tolist()
        return [self.offsets[first : last + 1].astype(np.int64) for first, last in pairwise(numbers)]

    def whole(self, read: Callable[[Offsets], Bits], rows: Callable[[Bits, Partition], Bits]) -> Bits:
        """The matrix of 16-bit elements: `read` has those of a worker [WARPS, batches, ...], whose batches begin there, and `rows`
        brings those of a part of it in order."""
        offsets, partition = self.offsets_of_workers(), self.partition

        def pieces(worker: int) -> list[Bits]:
            return [rows(each, partition) for each in partition.split(worker, read(offsets[worker]), axis=1)]

        return partition.whole(np.empty((self.m, self.k), dtype=np.uint16), self.step, pieces)

    @property
    def nbytes(self) -> int:
        """Bytes that a product reads."""
        return self.units.nbytes + self.offsets.nbytes
