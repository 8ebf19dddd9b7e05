"""Streams whose steps all have as many bytes: those of all warps for a step of a block next to each other, step after step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.streams.partition import ROWS, WARPS, Number, Partition, deal, halves_for
from sparsec.cuda.streams.steps import Steps

UNIT = 16  # bytes


@dataclass(frozen=True, slots=True)
class EqualSteps(Steps):
    """A matrix [m, k] in such a stream: `units` is uint8 [units, 16]."""

    step_bytes: ClassVar[int]  # of a warp

    units: NDArray[np.uint8]

    @classmethod
    def dealt(cls, m: int, k: int, workers: int) -> Partition:
        """The steps of a matrix among so many multiprocessors; all cost the same."""
        halves = halves_for(m, k, workers)
        blocks, steps = -(-m // (ROWS * WARPS // halves)), -(-k // (cls.columns * halves))
        return deal(np.ones((blocks, steps)), workers, halves)

    @property
    def macros(self) -> Mapping[str, int]:
        """What the kernel is to be compiled with for this matrix."""
        return {"UNITS": self.step_bytes // UNIT}

    @property
    def offsets(self) -> NDArray[np.uint32]:
        """None: steps are of one size."""
        return np.zeros(1, dtype=np.uint32)

    @property
    def nbytes(self) -> int:
        """Bytes that a product reads."""
        return self.units.nbytes

    def block_bytes(self, tiles: int) -> tuple[int, int]:
        """Shared memory of a block with sums of so many tiles of tokens; steps are in registers, and there are no slots of lanes."""
        return self.partition.groups * self.partition.area_bytes(tiles), 0

    def segments(self, worker: int) -> list[NDArray[np.uint8]]:
        """The steps [WARPS, steps, bytes] of each part of a worker."""
        return segments(self.partition, self.units, self.step_bytes, worker)


def whole(
    streams: EqualSteps, dtype: type[Number], rows: Callable[[NDArray[np.uint8], Partition], NDArray[Number]]
) -> NDArray[Number]:
    """The matrix [m, k] of elements of a type; `rows` has those of a segment of its steps [WARPS, steps, bytes]."""

    def pieces(worker: int) -> list[NDArray[Number]]:
        return [rows(steps, streams.partition) for steps in streams.segments(worker)]

    return streams.partition.whole(np.empty((streams.m, streams.k), dtype=dtype), streams.step, pieces)


def encode(partition: Partition, segment: Callable[[int, int, int], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The units [units, 16] of a matrix; `segment` gives the steps [WARPS, steps, bytes] of a block from one to another."""

    def worker(number: int) -> NDArray[np.uint8]:
        steps = np.concatenate([segment(*part) for part in partition.parts(number)], axis=1)
        return np.ascontiguousarray(steps.swapaxes(0, 1)).reshape(-1, UNIT)

    with ThreadPoolExecutor() as pool:
        return np.concatenate(list(pool.map(worker, range(partition.workers))))


def segments(partition: Partition, units: NDArray[np.uint8], step_bytes: int, worker: int) -> list[NDArray[np.uint8]]:
    """What `encode` was given of a worker: the steps of each of its parts."""
    first, last = (partition.cuts[worker : worker + 2] * (WARPS * step_bytes // UNIT)).tolist()
    steps = units[first:last].reshape(-1, WARPS, step_bytes).swapaxes(0, 1)
    return partition.split(worker, steps, axis=1)
