"""Work for the multiprocessors of a GPU: equal parts of a matrix, whichever rows and columns they hold.

A matrix is cut into blocks of rows and steps of columns; the steps of all blocks in a line are dealt out to workers (a
multiprocessor each) in consecutive parts of equal cost, as stream-K does (Osama et al., PPoPP 2023). A part that ends
within a block leaves partial sums, which the worker that comes last adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

WARPS = 16  # of a worker, which is a block of threads
ROWS = 32  # of a warp
LARGE = 1 << 20  # elements of a worker

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Partition:
    """Who does what: worker w has the steps `cuts[w]` up to `cuts[w + 1]` of all blocks in a line, which are not none.

    Of a worker's warps so many share a group of 32 rows: each has its part of the columns of a step. Streams have the steps of a
    part in batches of so many, the last one of fewer.
    """

    halves: int
    blocks: int
    steps: int
    cuts: NDArray[np.int64]
    batch: int = 1

    @property
    def groups(self) -> int:
        """Groups of 32 rows in a block."""
        return WARPS // self.halves

    @property
    def rows(self) -> int:
        """Of a block."""
        return ROWS * self.groups

    def area_bytes(self, tiles: int) -> int:
        """Shared memory of a group through which its sums of so many tiles of tokens pass on their way out."""
        return 8 * min(tiles, 4) * 68 if self.halves == 1 else 1024 * tiles

    @property
    def workers(self) -> int:
        return len(self.cuts) - 1

    def parts(self, worker: int) -> list[tuple[int, int, int]]:
        """Block, first step and end step of each segment of a worker, in order."""
        begin, end = self.cuts[worker : worker + 2].tolist()
        found = []
        while begin < end:
            block = begin // self.steps
            stop = min(end, (block + 1) * self.steps)
            found.append((block, begin - block * self.steps, stop - block * self.steps))
            begin = stop
        return found

    def batches(self, worker: int) -> list[int]:
        """How many each part of a worker has."""
        return [-(-(end - first) // self.batch) for _, first, end in self.parts(worker)]

    def batches_before(self) -> NDArray[np.int64]:
        """Of the workers before each, and of all."""
        return np.concatenate([[0], np.cumsum([sum(self.batches(worker)) for worker in range(self.workers)])])

    def piece(self, matrix: NDArray[Number], step: int, block: int, first: int, last: int) -> NDArray[Number]:
        """The rows of a block and the columns of steps [first, last), `step` columns each, filled up with zeros."""
        found = np.zeros((self.rows, (last - first) * step), dtype=matrix.dtype)
        inside = matrix[block * self.rows : (block + 1) * self.rows, first * step : last * step]
        found[: inside.shape[0], : inside.shape[1]] = inside
        return found

    def batched(
        self, matrix: NDArray[Number], step: int, parts: Iterable[tuple[int, int, int]]
    ) -> Iterable[NDArray[Number]]:
        """The pieces of a worker's parts, each filled up to a whole number of batches."""
        for block, first, last in parts:
            piece = self.piece(matrix, step, block, first, last)
            yield np.pad(piece, ((0, 0), (0, -(last - first) % self.batch * step)))

    def whole(
        self, out: NDArray[Number], step: int, pieces: Callable[[int], Iterable[NDArray[Number]]]
    ) -> NDArray[Number]:
        """Fill a matrix with the parts that `pieces` has of each worker, in order: the inverse of `piece`."""

        def write(worker: int) -> None:
            for (block, first, last), piece in zip(self.parts(worker), pieces(worker), strict=True):
                inside = out[block * self.rows : (block + 1) * self.rows, first * step : last * step]
                inside[...] = piece[: inside.shape[0], : inside.shape[1]]

        with ThreadPoolExecutor() as pool:
            list(pool.map(write, range(self.workers)))
        return out

    def split(self, worker: int, steps: NDArray[Number], axis: int) -> list[NDArray[Number]]:
        """What a worker has for its batches, along an axis of equally much for each, by its parts."""
        ends = np.cumsum(self.batches(worker))
        return np.split(steps, ends[:-1] * (steps.shape[axis] // int(ends[-1])), axis)

    @property
    def segments(self) -> int:
        """Parts of blocks, of all workers."""
        return len(np.union1d(self.cuts, np.arange(self.blocks + 1) * self.steps)) - 1

    def worker_table(self) -> NDArray[np.int32]:
        """For the kernel, [workers + 1, 4]: begin, end, number of the first segment, batches before; only these of the last."""
        starts = np.union1d(self.cuts, np.arange(self.blocks + 1) * self.steps)
        firsts = np.searchsorted(starts, self.cuts)
        ends = np.append(self.cuts[1:], self.cuts[-1])
        return np.stack([self.cuts, ends, firsts, self.batches_before()], axis=1).astype(np.int32)

    def heads(self, offsets: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """For the kernel, [workers, WARPS, 4]: a warp's first offsets, of those of all steps; the last one again if fewer."""
        before = self.batches_before()
        counts = np.diff(before)[:, None, None]
        firsts = before[:-1, None, None] * WARPS + np.arange(WARPS)[:, None] * counts
        found: NDArray[np.uint32] = offsets[np.minimum(firsts + np.minimum(np.arange(4), counts), len(offsets) - 1)]
        return found

    def block_table(self) -> NDArray[np.int32]:
        """For the kernel, [blocks, 2]: number of the first segment, how many there are."""
        ends = np.arange(self.blocks + 1) * self.steps
        firsts = np.searchsorted(np.union1d(self.cuts, ends), ends)
        return np.stack([firsts[:-1], np.diff(firsts)], axis=1).astype(np.int32)


def halves_for(m: int, k: int, workers: int) -> int:
    """Warps that share rows: two where workers have little to do, so that fewer workers share a block's sums."""
    return 1 if m * k >= LARGE * workers else 2


def deal(costs: NDArray[np.float64], workers: int, halves: int, batch: int = 1) -> Partition:
    """Deal out the steps of blocks, whose costs are [blocks, steps], in at most so many parts of about equal cost."""
    blocks, steps = costs.shape
    ends = np.cumsum(costs.ravel())
    wanted = np.arange(1, workers) * (ends[-1] / workers)
    inner = np.minimum(np.searchsorted(ends, wanted) + 1, ends.size)
    cuts = np.unique(np.concatenate([[0], inner, [ends.size]])).astype(np.int64)
    return Partition(halves, blocks, steps, cuts, batch)


def nonzeros(weight: NDArray[np.uint16], step: int, halves: int) -> NDArray[np.int64]:
    """Of 16-bit numbers that are neither zero, in each step of each block: [blocks, steps]."""
    m, k = weight.shape
    kept = np.add.reduceat((weight << 1) != 0, np.arange(0, k, step), axis=1, dtype=np.int64)
    counts: NDArray[np.int64] = np.add.reduceat(kept, np.arange(0, m, ROWS * WARPS // halves), axis=0)
    return counts
