"""Facts of weights: windows and n:m."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsec.formats.coo import Coo
from sparsec.formats.facts import WINDOWS, facts_of


def grouped(kept: int, of: int, rows: int = 24, columns: int = 64) -> np.ndarray:
    """Ones that keep n of m."""
    rank = np.random.default_rng(0).random((rows, columns // of, of)).argsort(axis=2)
    return (rank < kept).reshape(rows, columns).astype(np.float32)


@pytest.mark.parametrize(("kept", "of"), [(1, 4), (2, 4), (1, 8), (3, 8), (4, 8), (1, 16), (5, 16), (8, 16)])
def test_finds_the_group(kept: int, of: int) -> None:
    assert facts_of(grouped(kept, of)).group == (kept, of)


def test_a_group_may_have_less() -> None:
    weight = grouped(2, 4)
    weight[:3] = 0
    assert facts_of(weight).group == (2, 4)


@pytest.mark.parametrize("zeros", [0.0, 0.5, 1.0])
def test_random_places_are_no_group(zeros: float) -> None:
    weight = (np.random.default_rng(0).random((64, 64)) >= zeros).astype(np.float32)
    assert facts_of(weight).group is None


@given(st.integers(0, 9), st.integers(0, 50), st.floats(0, 1))
def test_windows_have_the_most_nonzeros_of_any(rows: int, columns: int, density: float) -> None:
    weight = (np.random.default_rng(1).random((rows, columns)) < density).astype(np.float32)
    windows = dict(facts_of(weight).windows)
    assert facts_of(Coo.from_dense(weight)).windows == facts_of(weight).windows
    for width in WINDOWS:
        parts = [weight[:, start : start + width] for start in range(0, columns, width)]
        assert windows[width] == max((int(part.sum(axis=1).max(initial=0)) for part in parts), default=0)


def test_rows_and_columns_that_are_nearly_full_are_told() -> None:
    weight = np.zeros((64, 100), dtype=np.float32)
    weight[:8, :95], weight[:, 40:60] = 1, 1
    facts = facts_of(weight)
    assert (facts.full_rows, facts.full_columns) == (8, 20)
    assert "8 of 64 rows nearly full, 20 of 100 columns nearly full" in facts.pattern
    assert "nearly full" not in facts_of(np.ones((4, 4), dtype=np.float32)).pattern


def test_the_split_format_is_told_by_its_parts() -> None:
    weight = np.eye(64, 128, dtype=np.float32)
    weight[:4] = weight[8:10, 64:] = 1
    facts = facts_of(weight)
    assert facts.parts_of(1) == "73 % of the nonzeros in columns of 4 rows, 18 % in columns of 2 rows, 9 % alone"
    assert facts.seen_by("split", 1) == f"{facts.pattern}; {facts.parts_of(1)}"
    words = facts_of(np.repeat(weight, 4, axis=1).astype(np.int8))
    assert words.parts_of(4) == "91 % of the words in columns of 2 rows, 9 % alone"
    assert facts.seen_by("csr", 1) == facts.pattern
    assert (
        facts_of(np.zeros((4, 4), dtype=np.float32)).seen_by("split", 1)
        == "100.0 % zeros, 4 of 4 rows empty, 4 of 4 columns empty"
    )
