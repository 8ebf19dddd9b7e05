"""A weight as the sum of parts: bundles of rows where these have nonzeros in the same columns, and the rest as CSR.

A kernel loads what a column multiplies once for all rows of a bundle. Rows that are nearly full become bundles of all
columns, columns that are nearly full are shared by all rows, and so are blocks, wherever they begin: each nonzero is in
the tallest bundle that it fits. Which rows are bundled is chosen anew for each span of columns, by greedy matching.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sparsec.formats.bundles import Bundles
from sparsec.formats.coo import Coo
from sparsec.formats.csr import Csr
from sparsec.formats.matching import Numbers, Sharing, match, panels_of

GROUP = 64  # rows that may be bundled
# For less columns, starting on another bundle costs more than it saves:
FOURS = Sharing(height=4, span=1024, fewest=16)
PAIRS = Sharing(height=2, span=128, fewest=8)
SHARINGS = (FOURS, PAIRS)
# Words of bytes have products of two columns a cycle: to share loads among four rows gains nothing over two, of less columns.
WORD_SHARINGS = (PAIRS,)


@dataclass(frozen=True, slots=True)
class Split:
    """A weight as a matrix [first dimension, the rest]; every nonzero is in one of the parts. `bundles` may be empty."""

    bundles: tuple[Bundles, ...]
    rest: Csr

    @classmethod
    def encode(
        cls,
        weight: NDArray[np.generic] | Coo | Csr,
        *,
        groups: Sequence[int] | NDArray[np.integer] | None = None,
        sharings: Sequence[Sharing] = SHARINGS,
    ) -> Split:
        """Encode a weight of rank >= 1 as float32: a part for each of `sharings`, which take nonzeros one after the other.

        All rows of a bundle are in one group, rows [groups[g], groups[g + 1]), and among the same GROUP rows.
        """
        rest, bundles = weight if isinstance(weight, Csr) else Csr.encode(weight), list[Bundles]()
        bounds = np.union1d(np.arange(0, rest.rows, GROUP), [0, rest.rows] if groups is None else groups)
        for sharing in sharings:
            part, rest = _take(rest, bounds, sharing)
            bundles.append(part)
        return cls(tuple(bundles), rest)

    def decode(self) -> NDArray[np.float32]:
        """The dense tensor."""
        return sum((part.decode() for part in self.bundles), start=self.rest.decode())

    def at(self, row: int, column: int) -> float:
        """One element of the matrix."""
        return self.rest.at(row, column) + sum(part.at(row, column) for part in self.bundles)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rest.shape

    @property
    def nnz(self) -> int:
        """Nonzeros of all parts."""
        return self.rest.nnz + sum(part.values.size for part in self.bundles)

    @property
    def nbytes(self) -> int:
        """Bytes of all parts."""
        return self.rest.nbytes + sum(part.nbytes for part in self.bundles)


def _take(csr: Csr, bounds: NDArray[np.integer], sharing: Sharing) -> tuple[Bundles, Csr]:
    """The bundles among the rows between each two of `bounds`, and the nonzeros that are in none."""
    height = sharing.height
    found = [_bundles(csr, int(begin), int(end), sharing) for begin, end in pairwise(bounds)]
    members = np.concatenate([np.zeros((0, height), dtype=np.int64), *(rows for rows, _, _ in found)])
    counts = np.concatenate([np.zeros(0, dtype=np.int64), *(each for _, each, _ in found)])
    at = np.concatenate([np.zeros((0, height), dtype=np.int64), *(each for _, _, each in found)])
    single = np.ones(csr.nnz, dtype=bool)
    single[at.reshape(-1)] = False
    kept = np.bincount(np.repeat(np.arange(csr.rows), csr.counts)[single], minlength=csr.rows)
    starts = [np.concatenate([[0], np.cumsum(each)]).astype(np.int32) for each in (counts, kept)]
    return (
        Bundles(csr.shape, members, starts[0], csr.columns[at[:, 0]].astype(np.int32), csr.values[at]),
        Csr(csr.shape, csr.values[single], csr.columns[single], starts[1]),
    )


def _bundles(csr: Csr, begin: int, end: int, sharing: Sharing) -> tuple[Numbers, Numbers, Numbers]:
    """Bundles [bundles, height] among the rows [begin, end), how many columns each shares, and which nonzeros these are,
    [columns, height]."""
    first_of_all, inside = csr.pointers[begin], max(1, math.prod(csr.shape[1:]))
    columns = csr.columns[first_of_all : csr.pointers[end]].astype(np.int64)
    row = np.repeat(np.arange(end - begin), csr.counts[begin:end])
    panels = panels_of(row, columns, end - begin, inside, min(sharing.span, inside))
    panel, members, shared = match(panels, sharing.height, sharing.fewest)
    bundle, column = np.nonzero(shared)
    places = members[bundle] * inside + (panel[bundle] * panels.shape[2] + column)[:, None]
    at = first_of_all + np.searchsorted(row * inside + columns, places)
    return members + begin, np.bincount(bundle, minlength=len(panel)), at
