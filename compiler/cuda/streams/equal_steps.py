"""Streams whose steps all have as many bytes: those of all warps for a step of a block next to each other, step after step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.streams.partition import ROWS, WARPS, Partition, deal, halves_for

UNIT = 16  # bytes


@dataclass(frozen=True, slots=True)
class EqualSteps:
    """A matrix [m, k] in such a stream: `units` is uint8 [units, 16]."""

    kernel: ClassVar[str]
    columns: ClassVar[int]  # of a warp in a step
    step_bytes: ClassVar[int]  # of a warp

    m: int
    k: int
    partition: Partition
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
    def step(self) -> int:
        """Columns of a step, of all warps."""
        return self.columns * self.partition.halves

    @property
    def steps(self) -> int:
        """Of a row block."""
        return -(-self.k // self.step)

    @property
    def nbytes(self) -> int:
        """Bytes that a product reads."""
        return self.units.nbytes

    def block_bytes(self, tiles: int) -> tuple[int, int]:
        """Shared memory of a block with sums of so many tiles of tokens; steps are in registers, and there are no slots of lanes."""
        return self.partition.groups * self.partition.area_bytes(tiles), 0


def encode(partition: Partition, segment: Callable[[int, int, int], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The units [units, 16] of a matrix; `segment` gives the steps [WARPS, steps, bytes] of a block from one to another."""

    def worker(number: int) -> NDArray[np.uint8]:
        steps = np.concatenate([segment(*part) for part in partition.parts(number)], axis=1)
        return np.ascontiguousarray(steps.swapaxes(0, 1)).reshape(-1, UNIT)

    with ThreadPoolExecutor() as pool:
        return np.concatenate(list(pool.map(worker, range(partition.workers))))


def segments(
    partition: Partition, units: NDArray[np.uint8], step_bytes: int
) -> Iterator[tuple[int, int, int, NDArray[np.uint8]]]:
    """What `encode` was given: block, first step, end step and the steps of each segment."""
    first = 0
    for worker in range(partition.workers):
        parts = partition.parts(worker)
        count = sum(end - begin for _, begin, end in parts)
        last = first + count * WARPS * step_bytes // UNIT
        steps, at = units[first:last].reshape(count, WARPS, step_bytes).swapaxes(0, 1), 0
        for block, begin, end in parts:
            yield block, begin, end, steps[:, at : at + end - begin]
            at += end - begin
        first = last
