"""The line of steps: everyone has as many, every step is somebody's."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsec.cuda.streams.spmv_line import WARPS, Line, line


def spans(made: Line) -> list[tuple[int, int]]:
    """What each warp does, as the kernel finds it."""
    shares = np.arange(made.warps + 1)
    cuts = [begin + (end - begin) * shares // made.warps for begin, end, _, _ in made.workers.tolist()]
    return [(int(begin), int(end)) for each in cuts for begin, end in itertools.pairwise(each)]


@settings(max_examples=50)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=60),
    st.integers(1, 9),
    st.sampled_from([1, 4, 16]),
    st.sampled_from([1, 100, 1000]),
)
def test_every_step_is_in_one_segment_of_one_warp(counts: list[int], workers: int, warps: int, most: int) -> None:
    steps = np.array(counts)
    places = np.concatenate([np.arange(each) * 1000 // each for each in counts]).astype(np.int32)
    made = line(steps, places, places + 20, workers, most, (warps,))
    total = int(steps.sum())
    assert sorted(made.order) == list(range(total))
    assert made.workers[0, 0] == 0
    assert made.workers[-1, 1] == total
    assert (made.workers[1:, 0] == made.workers[:-1, 1]).all()
    firsts = np.cumsum(steps) - steps
    real = made.segments[made.segments[:, 1] > 0]
    for number, (begin, end) in enumerate(spans(made)):
        while begin < end:
            slice_, count, _, following, *_ = made.segments[number]
            assert made.begins[number] == begin
            inside = made.order[begin : begin + count] - firsts[slice_]
            assert inside[0] >= 0
            assert inside[-1] < steps[slice_]
            assert (np.diff(inside) == 1).all()
            begin, number = begin + count, following
        assert begin == end
    by_place = sorted((place, slice_) for slice_, _, place, *_ in real)
    assert [place for place, _ in by_place] == list(range(len(real)))
    for slice_, _, _, _, first, count, _, _ in real:
        assert [each for _, each in by_place[first : first + count]] == [slice_] * count
        assert count == (real[:, 0] == slice_).sum()
    for begin, end, low, high in made.workers:
        assert all(low <= places[each] and places[each] + 20 < high for each in made.order[begin:end])


def test_all_warps_have_as_much() -> None:
    steps = np.array([30, 28, 28, 27, 20] * 40)
    lowest = np.zeros(steps.sum(), dtype=np.int32)
    made = line(steps, lowest, lowest + 5, 6, 100, (8,))
    counts = [end - begin for begin, end in spans(made)]
    assert max(counts) - min(counts) <= 1


def test_slices_are_in_pieces_where_that_needs_fewer_columns() -> None:
    steps = np.full(64, 20)
    lowest = np.tile(np.arange(20) * 50, 64).astype(np.int32)
    whole, pieces = (line(steps, lowest, lowest + 49, 8, most, (4,)) for most in (1000, 300))
    assert whole.columns > 900
    assert pieces.columns <= 300
    assert len(pieces.segments) > len(whole.segments)
    assert (np.diff(pieces.workers[:, 2]) >= 0).all()


def test_there_are_as_many_warps_as_have_enough_to_do() -> None:
    lowest = np.zeros(4096, dtype=np.int32)
    many, few = (line(np.full(64, each), lowest, lowest + 5, 8, 100) for each in (32, 31))
    assert (many.warps, few.warps) == WARPS
