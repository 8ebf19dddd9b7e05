"""Groups of rows hold about equal work, however skewed the weight is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsec.kernels.row_groups import GROUP_ROWS, HEAVY, LEAST_ROWS, ROW_COST, SERVER, RowGroups

CHUNKS = 8  # that two threads take from each other


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=700),
    st.sampled_from([1, 4, 8, 16]),
    st.integers(0, 15),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 8]),
)
def test_groups_cover_all_rows_once(work: list[int], height: int, missing: int, blocks: int, least: int) -> None:
    outputs = max(len(work) * height - missing % height, 1)
    groups = RowGroups.of(np.array(work), outputs, height, blocks=blocks, least=least)
    assert (groups.bounds[0], groups.bounds[-1]) == (0, outputs)
    rows = np.diff(groups.bounds)
    assert (rows >= min(LEAST_ROWS, outputs)).all()
    assert (groups.bounds[:-1] % height == 0).all()
    assert sorted(groups.order) == list(range(groups.parts))
    assert rows.max() <= groups.most <= (256 if blocks > 1 or outputs % 1024 == 0 else 64) + LEAST_ROWS - 1 + height
    assert groups.starts[-1] == len(work)


def test_servers_get_more_groups() -> None:
    work = np.full(1024, 100)
    assert [RowGroups.of(work, 1024, least=least).parts for least in (1, SERVER)] == [4, 1024 // GROUP_ROWS]


def shares(work: NDArray[np.int64], groups: RowGroups, chunks: int) -> NDArray[np.float64]:
    """Work of each chunk of units, as runs of the order, over that of all."""
    each = np.add.reduceat(work + ROW_COST, groups.bounds[:-1])[groups.order]
    return np.array([part.sum() for part in np.array_split(each, chunks)]) / each.sum()


def dense_rows(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    work = np.zeros(4096, dtype=np.int64)
    work[rows] = 4096
    return work


SKEWED = {
    "dense block row": dense_rows(np.arange(2000, 2064)),
    "dense rows at the end": dense_rows(np.arange(3840, 4096)),
    "scattered dense rows": dense_rows(np.arange(0, 1024, 8)),
    "power law": (4096 / (1 + np.arange(4096) / 8) ** 0.8).astype(np.int64),
    "falling": (4096 / (1 + np.arange(4096) / 16)).astype(np.int64),
}


@pytest.mark.parametrize("name", SKEWED)
def test_no_group_has_much_more_than_its_share(name: str) -> None:
    work = SKEWED[name]
    groups = RowGroups.of(work, len(work))
    each = np.add.reduceat(work + ROW_COST, groups.bounds[:-1])
    pieces = np.add.reduceat(work + ROW_COST, np.arange(0, len(work), LEAST_ROWS))
    assert each.max() <= max(HEAVY * each.sum() / 16, pieces.max())


@pytest.mark.parametrize("name", SKEWED)
def test_two_threads_share_one_tile(name: str) -> None:
    """The chunks of a single tile of tokens, each taken by the thread that is free."""
    free = [0.0, 0.0]
    for share in shares(SKEWED[name], RowGroups.of(SKEWED[name], 4096), CHUNKS):
        free[int(np.argmin(free))] += share
    assert max(free) < 1 / 1.8


def test_equal_groups_stay_in_order() -> None:
    work = np.random.default_rng(0).binomial(768, 0.1, 768)
    groups = RowGroups.of(work, 768)
    assert groups.order.tolist() == list(range(12))
    assert (np.diff(groups.bounds) == 64).all()
