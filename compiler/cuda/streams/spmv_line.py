"""The steps of all slices of a matrix in a line, and who does which: equal parts for all warps of a GPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WARPS = (32, 16)  # that a worker may have
ENOUGH = 8  # steps of each

Numbers = NDArray[np.int64]
Table = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Line:
    """`order` is the number of each step as slices have them, one after the other. A segment is steps of a slice that a warp
    does: the first ones of all warps, of all workers, then others; `begins` where each has its first step in the line.

    For the kernel: `workers` [workers, 4] is where each begins and ends in the line, which its warps share equally, and the
    columns that it needs, the first and the end; `segments` [segments, 8] a slice, how many steps, the place of its sums, the
    warp's next segment, the first place of the slice's sums and how many they are, nothing, nothing.
    """

    order: Numbers
    begins: Numbers
    workers: Table
    segments: Table
    warps: int  # of a worker

    @property
    def columns(self) -> int:
        """That a worker needs at most."""
        return int((self.workers[:, 3] - self.workers[:, 2]).max())


def line(
    steps: Numbers,
    lowest: NDArray[np.int32],
    highest: NDArray[np.int32],
    workers: int,
    most_columns: int,
    warps: tuple[int, ...] = WARPS,
) -> Line:
    """Of slices with so many steps, for so many workers; each step needs columns from its lowest to its highest.

    Workers have as many warps as have enough steps to do, of these numbers, or the least.

    Slices are in as few pieces as let no worker need more than so many columns, if that is possible.
    """
    busy = (each for each in warps if steps.sum() >= ENOUGH * workers * each)
    number = next(busy, warps[-1])
    for pieces in range(1, workers + 1):
        made = _line(steps, lowest, highest, pieces, workers, number)
        if made.columns <= most_columns:
            break
    return made


def _line(
    steps: Numbers, lowest: NDArray[np.int32], highest: NDArray[np.int32], pieces: int, workers: int, warps: int
) -> Line:
    firsts = np.cumsum(steps) - steps
    bounds = steps * np.arange(pieces + 1)[:, None] // pieces  # [pieces + 1, slices]
    counts = np.diff(bounds, axis=0).ravel()
    ends = np.cumsum(counts)
    begins = ends - counts  # in the line, of the pieces of slices
    order = np.arange(ends[-1]) + np.repeat((firsts + bounds[:-1]).ravel() - begins, counts)
    cuts = _cuts(ends[len(steps) - 1 :: len(steps)], workers)
    firsts_of_warps = (cuts[:-1, None] + np.arange(warps) * np.diff(cuts)[:, None] // warps).ravel()
    edges = np.union1d(firsts_of_warps, begins)
    edges = edges[edges < ends[-1]]
    sizes = np.diff(np.append(edges, ends[-1]))
    which = np.searchsorted(ends, edges, side="right") % len(steps)  # slice of each segment
    windows = np.zeros((workers, 2), dtype=np.int64)
    for worker in range(workers):
        mine = order[cuts[worker] : cuts[worker + 1]]
        if len(mine):
            windows[worker] = lowest[mine].min() & ~1, highest[mine].max() + 1
    begins_of_segments, segments = _segments(edges, which, sizes, firsts_of_warps, len(steps))
    table = np.stack([cuts[:-1], cuts[1:], *windows.T], axis=1).astype(np.int32)
    return Line(order, begins_of_segments, table, segments, warps)


def _segments(edges: Numbers, which: Numbers, sizes: Numbers, warps: Numbers, slices: int) -> tuple[Numbers, Table]:
    """Where segments begin and what they are, as `Line` has them, of those at `edges` in order; warps begin at `warps`."""
    last = np.searchsorted(warps, edges, side="right") - 1  # warp that has the segment
    is_first = warps[last] == edges
    numbers = np.where(is_first, last, len(warps) + np.cumsum(~is_first) - 1)
    places = np.empty_like(edges)
    places[np.argsort(which, kind="stable")] = np.arange(len(edges))
    shares = np.bincount(which, minlength=slices)
    firsts = np.cumsum(shares) - shares
    columns = (which, sizes, places, np.append(numbers[1:], 0), firsts[which], shares[which])
    begins = np.zeros(len(warps) + int((~is_first).sum()), dtype=np.int64)
    table = np.zeros((len(begins), 8), dtype=np.int32)
    begins[numbers] = edges
    table[numbers, : len(columns)] = np.stack(columns, axis=1)
    return begins, table


def _cuts(ends: Numbers, workers: int) -> Numbers:
    """Where each worker begins, and the end: each of some stretches of the line, which end here, is for as many workers."""
    shares = np.diff(np.linspace(0, workers, len(ends) + 1).round().astype(np.int64))
    found = [np.zeros(1, dtype=np.int64)]
    for begin, end, share in zip(np.append(0, ends), ends, shares, strict=False):
        found.append(begin + (end - begin) * np.arange(1, share + 1) // share)
    return np.concatenate(found)
