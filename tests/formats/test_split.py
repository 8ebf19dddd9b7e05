"""Pairs of rows and the rest are the weight again, and pairs are what they promise to be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsec.formats.coo import Coo
from sparsec.formats.facts import facts_of
from sparsec.formats.split import Split


@st.composite
def weights(draw: st.DrawFn) -> NDArray[np.float32]:
    shape = draw(st.integers(0, 40)), draw(st.sampled_from([0, 1, 7, 16, 33, 130]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    keep = random.random(shape) < draw(st.sampled_from([0.0, 0.05, 0.3, 0.6, 1.0]))
    return np.where(keep, random.standard_normal(shape), 0.0).astype(np.float32)


@given(weights(), st.sampled_from([1, 5, 16, 64]), st.sampled_from([1, 9, 32, 200]), st.sampled_from([1, 2, 8]))
def test_every_nonzero_is_in_one_part(weight: NDArray[np.float32], group: int, span: int, fewest: int) -> None:
    groups = np.append(np.arange(0, len(weight), group), len(weight))
    for source in (weight, Coo.from_dense(weight)):
        split = Split.encode(source, groups=groups, span=span, fewest=fewest)
        np.testing.assert_array_equal(split.decode(), weight)
        assert split.nnz == np.count_nonzero(weight)
        assert (split.pairs.values != 0).all()
        assert (split.pairs.counts >= fewest).all()
        assert (split.pairs.members // group == split.pairs.members[:, :1] // group).all()
        first = split.pairs.columns[split.pairs.pointers[:-1]] if len(split.pairs.columns) else np.zeros(0, int)
        used = [(row, column // span) for pair, column in zip(split.pairs.members, first, strict=True) for row in pair]
        assert len(used) == len(set(used))


def test_the_rows_that_share_most_are_paired() -> None:
    weight = np.zeros((4, 32), dtype=np.float32)
    weight[[0, 2], :20], weight[[1, 3], 10:] = 1, 2
    split = Split.encode(weight)
    assert sorted(map(tuple, split.pairs.members.tolist())) == [(0, 2), (1, 3)]
    assert split.rest.nnz == 0


def test_pairs_are_chosen_anew_for_each_span() -> None:
    weight = np.zeros((3, 32), dtype=np.float32)
    weight[[0, 1], :16], weight[[0, 2], 16:] = 1, 1
    split = Split.encode(weight, span=16)
    assert split.pairs.members.tolist() == [[0, 1], [0, 2]]


@pytest.mark.parametrize("density", [0.0, 0.3, 0.6])
def test_facts_tell_how_many_pairs_there_are(density: float) -> None:
    random = np.random.default_rng(0)
    weight = np.where(random.random((256, 300)) < density, 1, 0).astype(np.float32)
    split, facts = Split.encode(weight), facts_of(weight)
    assert (facts.pairs, facts.pair_runs) == (len(split.pairs.columns), len(split.pairs.members))


def test_facts_of_a_tall_weight_are_an_estimate() -> None:
    random = np.random.default_rng(0)
    weight = np.where(random.random((4096, 128)) < 0.5, 1, 0).astype(np.float32)
    assert facts_of(weight).pairs == pytest.approx(len(Split.encode(weight).pairs.columns), rel=0.05)
