"""Which outputs of a linear layer are computed together: threads share work by nonzeros, not by rows (nonzero splitting,
as Merrill & Garland call it, SC 2016; here of whole rows)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GROUP_ROWS = 64
LEAST_ROWS = 16  # rows that fill a vector on their way to y
PAGE = 4096  # bytes; tokens of y so far apart share one set of the level-1 cache
ROW_COST = 12  # a row without nonzeros costs as much as this many
SERVER = 32  # groups at least, if they are not too small, for a processor with tile registers
CORES = 16  # that share groups evenly there
HEAVY = 1.25  # the most work of a group, in averages, if it has more than LEAST_ROWS rows


@dataclass(frozen=True, slots=True)
class RowGroups:
    """Group g has the rows [bounds[g], bounds[g + 1]), which are a multiple of `height`, except the last.

    Unit u of a tile computes group `order[u]`. Groups of much and of little work take turns, so that every run of units
    has about its share.
    """

    bounds: NDArray[np.int32]
    order: NDArray[np.int32]
    height: int

    @classmethod
    def of(
        cls, work: NDArray[np.integer], outputs: int, height: int = 1, *, blocks: int = 1, least: int = 1
    ) -> RowGroups:
        """Neighbouring rows of about equal `work`: nonzeros of each row, or of each row of blocks of `height` rows.

        Groups may have more rows if the columns are visited in several `blocks`, or for long contiguous pieces of y where
        these lie badly; but where many threads are likely, there are at least about so many groups. None has less than
        LEAST_ROWS, if there are as many.
        """
        most = 4 * GROUP_ROWS if blocks > 1 or outputs * 4 % PAGE == 0 else GROUP_ROWS
        most = max(min(most, outputs // least), GROUP_ROWS)
        groups = -(-outputs // max(most, 3 * LEAST_ROWS))
        even = -(-groups // CORES) * CORES
        if least > 1 and outputs >= 3 * LEAST_ROWS * even:
            groups = even
        starts = np.arange(max(outputs // LEAST_ROWS, 1)) * LEAST_ROWS
        costs = np.add.reduceat(work + ROW_COST, starts // height).astype(np.float64)
        pieces = -(-outputs // (groups * LEAST_ROWS))
        kept = _cuts(costs, pieces, HEAVY * costs.sum() / groups)
        return cls(np.append(starts[kept], outputs).astype(np.int32), _mixed(np.add.reduceat(costs, kept)), height)

    @property
    def parts(self) -> int:
        return len(self.order)

    @property
    def most(self) -> int:
        """Rows of the largest group, filled up to whole blocks."""
        return int(np.diff(self.starts).max()) * self.height

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each group begins, and the end of the last, in rows of blocks."""
        return -(-self.bounds.astype(np.int64) // self.height)

    @property
    def arrays(self) -> dict[str, NDArray[np.int32]]:
        """What the kernel reads of it, by buffer name."""
        return {"groups.order": self.order, "groups.bounds": self.bounds}


def _cuts(costs: NDArray[np.float64], pieces: int, limit: float) -> NDArray[np.int64]:
    """Where runs of at most so many pieces begin that together cost at most `limit`, or are one piece."""
    starts, total = [0], 0.0
    for piece, cost in enumerate(costs.tolist()):
        if piece > starts[-1] and (piece - starts[-1] == pieces or total + cost > limit):
            starts.append(piece)
            total = 0.0
        total += cost
    return np.array(starts)


def _mixed(work: NDArray[np.float64]) -> NDArray[np.int32]:
    """All groups in an order that spreads those of equal work, to a factor of two, evenly; where all are equal, as they are."""
    level = np.rint(np.log2(work / work.mean()))
    place = np.zeros(len(work))
    for each in np.unique(level):
        chosen = np.flatnonzero(level == each)
        place[chosen] = (np.arange(len(chosen)) + 0.5) / len(chosen)
    return np.argsort(place, kind="stable").astype(np.int32)
