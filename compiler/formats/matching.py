"""Which rows share most columns: a greedy matching of rows to pairs, of pairs to fours, anew in each span of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]
Element = TypeVar("Element", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Sharing:
    """Bundles of `height` rows, a power of two, that share at least `fewest` columns of a `span`, all with nonzeros."""

    height: int
    span: int
    fewest: int


def panels_of(row: Numbers, column: Numbers, rows: int, columns: int, span: int) -> Mask:
    """Where a few rows have their nonzeros, as [spans, rows, columns of a span]."""
    panels = np.zeros((-(-columns // span), rows, span), dtype=bool)
    panels[column // span, row, column % span] = True
    return panels


def match(panels: Mask, height: int, fewest: int) -> tuple[Numbers, Numbers, Mask]:
    """Disjoint bundles of rows of each panel: panels [bundles], members [bundles, height], shared columns [bundles, span].

    The two rows, or bundles, that share most come first; all share at least `fewest` columns.
    """
    count, rows, _ = panels.shape
    members = np.broadcast_to(np.arange(rows)[:, None], (count, rows, 1))
    while True:
        panel, first, second = _pairs(panels, fewest)
        joined = np.concatenate([members[panel, first], members[panel, second]], axis=1)
        shared = panels[panel, first] & panels[panel, second]
        if joined.shape[1] == height:
            return panel, joined, shared
        order = np.argsort(panel, kind="stable")
        places = panel[order], np.arange(len(order)) - np.searchsorted(panel[order], panel[order])
        panels, members = (_dealt(each[order], places, (count, rows // 2)) for each in (shared, joined))


def _dealt(rows: NDArray[Element], places: tuple[Numbers, Numbers], shape: tuple[int, int]) -> NDArray[Element]:
    """The rows at their places of an array [*shape, columns] of zeros."""
    dealt = np.zeros((*shape, rows.shape[1]), dtype=rows.dtype)
    dealt[places] = rows
    return dealt


def _pairs(panels: Mask, fewest: int) -> tuple[Numbers, Numbers, Numbers]:
    """Disjoint pairs of rows of each panel: panels, first rows, second rows."""
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
