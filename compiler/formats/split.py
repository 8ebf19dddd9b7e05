"""A weight as the sum of two parts: pairs of rows where they have nonzeros in the same columns, and the rest as CSR.

A kernel loads what a column multiplies once for both rows of a pair. Which rows are paired is chosen anew for each span
of columns, by greedy matching: the two rows that share most come first.
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

Mask = NDArray[np.bool_]

GROUP = 64  # rows that may be paired
SPAN = 128  # columns for which pairs are chosen
FEWEST = 8  # columns that a pair shares in a span; for less, starting on another pair costs more than it saves


@dataclass(frozen=True, slots=True)
class Split:
    """A weight as a matrix [first dimension, the rest]; every nonzero is in one of the parts."""

    pairs: Bundles
    rest: Csr

    @classmethod
    def encode(
        cls,
        weight: NDArray[np.generic] | Coo | Csr,
        *,
        groups: Sequence[int] | NDArray[np.integer] | None = None,
        span: int = SPAN,
        fewest: int = FEWEST,
    ) -> Split:
        """Encode a weight of rank >= 1 as float32.

        Both rows of a pair are in one group, rows [groups[g], groups[g + 1]), and among the same GROUP rows; they share at
        least `fewest` columns of a `span`.
        """
        csr = weight if isinstance(weight, Csr) else Csr.encode(weight)
        bounds = np.union1d(np.arange(0, csr.rows, GROUP), [0, csr.rows] if groups is None else groups)
        found = [_pairs(csr, int(begin), int(end), span, fewest) for begin, end in pairwise(bounds)]
        members = np.concatenate([np.zeros((0, 2), dtype=np.int64), *(pairs for pairs, _, _ in found)])
        counts = np.concatenate([np.zeros(0, dtype=np.int64), *(each for _, each, _ in found)])
        at = np.concatenate([np.zeros((0, 2), dtype=np.int64), *(each for _, _, each in found)])
        single = np.ones(csr.nnz, dtype=bool)
        single[at.reshape(-1)] = False
        kept = np.bincount(np.repeat(np.arange(csr.rows), csr.counts)[single], minlength=csr.rows)
        starts = [np.concatenate([[0], np.cumsum(each)]).astype(np.int32) for each in (counts, kept)]
        return cls(
            Bundles(csr.shape, members, starts[0], csr.columns[at[:, 0]].astype(np.int32), csr.values[at]),
            Csr(csr.shape, csr.values[single], csr.columns[single], starts[1]),
        )

    def decode(self) -> NDArray[np.float32]:
        """The dense tensor."""
        return self.pairs.decode() + self.rest.decode()

    def at(self, row: int, column: int) -> float:
        """One element of the matrix."""
        return self.pairs.at(row, column) + self.rest.at(row, column)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rest.shape

    @property
    def nnz(self) -> int:
        """Nonzeros of both parts."""
        return self.pairs.values.size + self.rest.nnz

    @property
    def nbytes(self) -> int:
        """Bytes of both parts."""
        return self.pairs.nbytes + self.rest.nbytes


def _pairs(
    csr: Csr, begin: int, end: int, span: int, fewest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs [pairs, 2] among the rows [begin, end), how many columns each shares, and which nonzeros these are, [columns, 2]."""
    first_of_all, inside = csr.pointers[begin], max(1, math.prod(csr.shape[1:]))
    columns = csr.columns[first_of_all : csr.pointers[end]].astype(np.int64)
    row = np.repeat(np.arange(end - begin), csr.counts[begin:end])
    panels = panels_of(row, columns, end - begin, inside, span)
    panel, first, second = match(panels, fewest)
    pair, column = np.nonzero(panels[panel, first] & panels[panel, second])
    members = np.stack([first, second], axis=1)
    places = members[pair] * inside + (panel[pair] * span + column)[:, None]
    at = first_of_all + np.searchsorted(row * inside + columns, places)
    return members + begin, np.bincount(pair, minlength=len(panel)), at


def panels_of(row: NDArray[np.int64], column: NDArray[np.int64], rows: int, columns: int, span: int = SPAN) -> Mask:
    """Where a few rows have their nonzeros, as [spans, rows, columns of a span]."""
    panels = np.zeros((-(-columns // span), rows, span), dtype=bool)
    panels[column // span, row, column % span] = True
    return panels


def match(panels: Mask, fewest: int = FEWEST) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Disjoint pairs of rows of each panel that share at least `fewest` columns: panels, first rows, second rows."""
    rows, numbers = panels.shape[1], np.arange(len(panels))
    floats = panels.astype(np.float32)
    shared = floats @ floats.transpose(0, 2, 1)
    shared[:, np.tri(rows, dtype=bool)] = 0
    found = [np.zeros((3, 0), dtype=np.int64)]
    for _ in range(rows // 2):
        first, second = np.divmod(shared.reshape(len(panels), rows * rows).argmax(axis=1), rows)
        good = shared[numbers, first, second] >= fewest
        if not good.any():
            break
        found.append(np.stack([numbers[good], first[good], second[good]]))
        for taken in (first, second):
            shared[numbers, taken] = 0
            shared[numbers, :, taken] = 0
    panel, first, second = np.concatenate(found, axis=1)
    return panel, first, second
