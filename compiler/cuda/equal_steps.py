"""Streams whose steps all have as many bytes: the steps of a worker's first warp, in order, then those of its second, and
so on, worker after worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.partition import WARPS, Partition

UNIT = 16  # bytes


def encode(partition: Partition, segment: Callable[[int, int, int], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The units [units, 16] of a matrix; `segment` gives the steps [WARPS, steps, bytes] of a block from one to another."""

    def worker(number: int) -> NDArray[np.uint8]:
        return np.concatenate([segment(*part) for part in partition.parts(number)], axis=1).reshape(-1, UNIT)

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
        steps, at = units[first:last].reshape(WARPS, count, step_bytes), 0
        for block, begin, end in parts:
            yield block, begin, end, steps[:, at : at + end - begin]
            at += end - begin
        first = last
