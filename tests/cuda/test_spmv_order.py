"""Nonzeros in an order for eight lanes: all of them, none too far from the one before, and few in the same bank."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsec.cuda.streams.spmv_order import BANKS, FARTHEST, NONE, spread


def columns(groups: int, count: int, density: float, seed: int) -> np.ndarray:
    gaps = np.minimum(np.random.default_rng(seed).geometric(density, (groups, 8, count)), FARTHEST)
    return np.cumsum(gaps, axis=2).astype(np.int32)


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(1, 80), st.sampled_from([0.01, 0.05, 0.2, 1.0]), st.integers(0, 1 << 30))
def test_all_are_taken_and_none_is_too_far(groups: int, count: int, density: float, seed: int) -> None:
    given_ = columns(groups, count, density, seed)
    taken = spread(given_)
    assert np.array_equal(np.sort(taken, axis=2), np.broadcast_to(np.arange(count), taken.shape))
    assert abs(np.diff(np.take_along_axis(given_, taken, axis=2), axis=2, prepend=0)).max() <= FARTHEST


def test_what_is_behind_the_last_stays_there() -> None:
    given_ = columns(3, 60, 0.1, 0)
    given_[1, 2, 40:] = NONE
    given_[2, :, 16:] = NONE
    taken = spread(given_)
    assert np.array_equal(taken[1, 2, 40:], np.arange(40, 60))
    assert (taken[2, :, :16] < 16).all()


def test_few_share_a_bank() -> None:
    given_ = columns(64, 300, 0.2, 0)

    def loads(order: np.ndarray) -> float:
        banks = order % BANKS
        return float(np.max([(banks == each).sum(axis=1) for each in range(BANKS)], axis=0).mean())

    assert loads(given_) > 2.4
    assert loads(np.take_along_axis(given_, spread(given_), axis=2)) < 1.4
