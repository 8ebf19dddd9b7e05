"""Bundles and the rest are the weight again, and bundles are what they promise to be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsec.formats.coo import Coo
from sparsec.formats.facts import facts_of
from sparsec.formats.matching import Sharing
from sparsec.formats.split import FOURS, WORD_SHARINGS, Split

PAIRS = Sharing(2, 128, 8)


@st.composite
def weights(draw: st.DrawFn) -> NDArray[np.float32]:
    """Random places, and some full rows and columns."""
    shape = draw(st.integers(0, 40)), draw(st.sampled_from([0, 1, 7, 16, 33, 130]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    keep = random.random(shape) < draw(st.sampled_from([0.0, 0.05, 0.3, 0.6, 1.0]))
    full = draw(st.sampled_from([0.0, 0.2]))
    keep |= random.random((shape[0], 1)) < full
    keep |= random.random((1, shape[1])) < full
    return np.where(keep, random.standard_normal(shape), 0.0).astype(np.float32)


@given(
    weights(),
    st.sampled_from([1, 5, 16, 64]),
    st.sampled_from([1, 9, 32, 200]),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([(2,), (4, 2), (8, 4)]),
)
def test_every_nonzero_is_in_one_part(
    weight: NDArray[np.float32], group: int, span: int, fewest: int, heights: tuple[int, ...]
) -> None:
    groups = np.append(np.arange(0, len(weight), group), len(weight))
    for source in (weight, Coo.from_dense(weight)):
        split = Split.encode(source, groups=groups, sharings=[Sharing(height, span, fewest) for height in heights])
        np.testing.assert_array_equal(split.decode(), weight)
        assert split.nnz == np.count_nonzero(weight)
        assert tuple(part.height for part in split.bundles) == heights
        for part in split.bundles:
            assert (part.values != 0).all()
            assert (part.counts >= fewest).all()
            assert (part.members // group == part.members[:, :1] // group).all()
            first = part.columns[part.pointers[:-1]] if len(part.columns) else np.zeros(0, int)
            used = [(row, column // span) for rows, column in zip(part.members, first, strict=True) for row in rows]
            assert len(used) == len(set(used))


def test_the_rows_that_share_most_are_paired() -> None:
    weight = np.zeros((4, 32), dtype=np.float32)
    weight[[0, 2], :20], weight[[1, 3], 10:] = 1, 2
    split = Split.encode(weight)
    assert sorted(map(tuple, split.bundles[-1].members.tolist())) == [(0, 2), (1, 3)]
    assert split.rest.nnz == 0


def test_pairs_are_chosen_anew_for_each_span() -> None:
    weight = np.zeros((3, 32), dtype=np.float32)
    weight[[0, 1], :16], weight[[0, 2], 16:] = 1, 1
    (pairs,) = Split.encode(weight, sharings=[Sharing(2, 16, 8)]).bundles
    assert pairs.members.tolist() == [[0, 1], [0, 2]]


def test_full_rows_are_bundled_wherever_they_are() -> None:
    weight = np.eye(64, 200, dtype=np.float32)
    full = [3, 17, 18, 40, 55, 56, 61]
    weight[full] = 1
    fours, pairs = Split.encode(weight).bundles
    assert len(fours.members) == 1
    assert len(np.unique(pairs.members)) == 2
    assert sorted({*fours.members.reshape(-1), *pairs.members.reshape(-1)}) == sorted(set(full) - _alone(weight))
    assert (fours.counts == 200).all()


def _alone(weight: NDArray[np.float32]) -> set[int]:
    """Full rows that are in no bundle."""
    return set(np.flatnonzero(Split.encode(weight).rest.counts > 1).tolist())


def test_full_columns_are_in_the_fours_of_all_rows() -> None:
    random = np.random.default_rng(0)
    weight = (random.random((64, 500)) < 0.02).astype(np.float32)
    full = np.sort(random.permutation(500)[:40])
    weight[:, full] = 1
    fours, pairs = Split.encode(weight).bundles
    assert sorted(fours.members.reshape(-1)) == list(range(64))
    assert np.isin(full, fours.columns).all()
    assert len(pairs.members) == 0


def test_blocks_are_found_where_they_do_not_begin_at_multiples() -> None:
    weight = np.zeros((66, 256), dtype=np.float32)
    for first in range(2, 62, 4):
        weight[first : first + 4, (np.arange(20) * 11 + first) % 256] = 1
    fours = Split.encode(weight, sharings=[FOURS]).bundles[0]
    assert fours.values.size == np.count_nonzero(weight)


@pytest.mark.parametrize("density", [0.0, 0.3, 0.6])
def test_facts_tell_how_many_bundles_there_are(density: float) -> None:
    random = np.random.default_rng(0)
    weight = np.where(random.random((256, 300)) < density, 1, 0).astype(np.float32)
    found = {height: (columns, runs) for height, columns, runs in facts_of(weight).bundles}
    split = Split.encode(weight)
    for part in split.bundles:
        assert found.get(part.height, (0, 0)) == (len(part.columns), len(part.members))
    assert facts_of(weight).singles_of(1) == split.rest.nnz


@pytest.mark.parametrize("full", [0, 128])
def test_facts_of_a_tall_weight_are_an_estimate(full: int) -> None:
    random = np.random.default_rng(0)
    weight = np.where(random.random((4096, 128)) < 0.5, 1, 0).astype(np.float32)
    weight[:full] = 1
    exact = {part.height: len(part.columns) for part in Split.encode(weight).bundles}
    found = {height: columns for height, columns, _ in facts_of(weight).bundles}
    assert found.get(2) == pytest.approx(exact[2], rel=0.05)
    assert found.get(4, 0) == pytest.approx(exact[4], rel=0.3)


def test_facts_of_bytes_tell_how_many_bundles_of_words_there_are() -> None:
    words = np.random.default_rng(0).random((256, 512)) < 0.5
    wide = np.repeat(words, 4, axis=1)[:, :-2].astype(np.int8)
    split = Split.encode(words.astype(np.float32), sharings=WORD_SHARINGS)
    assert facts_of(wide).word_bundles == tuple(
        (part.height, len(part.columns), len(part.members)) for part in split.bundles
    )


def test_floats_and_full_words_have_no_bundles_of_words() -> None:
    assert facts_of(np.eye(64, dtype=np.float32)).word_bundles == ()
    assert facts_of(np.ones((64, 64), dtype=np.int8)).word_bundles == ()
    assert facts_of(np.zeros((64, 0), dtype=np.int8)).word_bundles == ()
