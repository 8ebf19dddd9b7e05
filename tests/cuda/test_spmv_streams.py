"""SpMV streams hold what was put in; what they add to it changes no result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import unstructured

from sparsec.cuda.streams.spmv_streams import SIGNED, WIDTHS, SpmvStreams, _packed, _unpacked

MANY = 1 << 20  # columns


@settings(max_examples=30)
@given(
    st.integers(1, 300),
    st.integers(1, 900),
    st.integers(1, 5),
    st.sampled_from([1, 4, 16]),
    st.sampled_from([0.0, 0.01, 0.1, 0.3, 0.5, 1.0]),
    st.sampled_from([1, 200, MANY]),
    st.booleans(),
    st.integers(0, 1 << 30),
)
def test_streams_round_trip(
    m: int, k: int, workers: int, warps: int, density: float, most: int, ordered: bool, seed: int
) -> None:
    bits = unstructured(m, k, density, seed)
    streams = SpmvStreams.encode(bits, workers, most, ordered=ordered, warps=(warps,))
    assert np.array_equal(streams.decode(), bits)
    assert streams.nnz == np.count_nonzero(bits)
    assert (streams.bits == SIGNED) == ordered
    assert sorted(streams.rows[streams.rows < m]) == list(range(m))


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("density", [0.02, 0.5, 1.0])
def test_zeros_that_are_added_are_where_the_matrix_has_zeros(density: float, ordered: bool) -> None:
    """So that infinities in X make NaN where they would in the product with the matrix."""
    bits = unstructured(70, 500, density, 1)
    streams = SpmvStreams.encode(bits, 3, MANY, ordered=ordered)
    values, distances = _unpacked(streams.units, streams.bits)
    padded = np.pad(bits, ((0, 0), (0, 1)))
    for (slice_, steps, *_), begin, start in zip(
        streams.line.segments, streams.line.begins, streams.starts, strict=True
    ):
        for lane, row in enumerate(streams.rows[slice_]):
            if row == len(bits):
                continue
            columns = distances[begin : begin + steps, lane].ravel().cumsum() + start[lane]
            empty = values[begin : begin + steps, lane].ravel() == 0
            assert not padded[row, columns[empty]].any()


def test_a_worker_needs_the_columns_of_its_window() -> None:
    bits = unstructured(600, 3000, 0.2, 1)
    streams = SpmvStreams.encode(bits, 6, 1300, warps=(4,))
    _, distances = _unpacked(streams.units, streams.bits)
    assert streams.columns <= 1300
    for (_, steps, *_), begin, start in zip(streams.line.segments, streams.line.begins, streams.starts, strict=True):
        if not steps:
            continue
        worker = np.searchsorted(streams.line.workers[:, 1], begin, side="right")
        _, _, low, high = streams.line.workers[worker]
        columns = distances[begin : begin + steps].swapaxes(0, 1).reshape(32, -1).cumsum(axis=1) + start[:, None]
        assert low % 2 == 0
        assert low <= columns.min() <= columns.max() < high


@pytest.mark.parametrize(("density", "width"), [(0.5, 3), (0.2, 4), (0.1, 5), (0.03, 6)])
def test_distances_are_as_wide_as_is_shortest(density: float, width: int) -> None:
    bits = unstructured(256, 8192, density, 1)
    streams = SpmvStreams.encode(bits, 4, MANY)
    assert streams.bits == width
    assert streams.nbytes < 1.3 * (2 + width / 8) * streams.nnz


@pytest.mark.parametrize("bits", [*WIDTHS, SIGNED])
def test_steps_are_unpacked_as_they_were_packed(bits: int) -> None:
    generator = np.random.default_rng(bits)
    values = generator.integers(0, 1 << 16, (5, 32, 16)).astype(np.uint16)
    low, high = (-128, 128) if bits == SIGNED else (0, 1 << bits)
    distances = generator.integers(low, high, (5, 32, 16)).astype(np.int8)
    units = _packed(values, distances, bits)
    assert units.shape == (5, 1024 + 64 * bits)
    found = _unpacked(units, bits)
    assert np.array_equal(found[0], values)
    assert np.array_equal(found[1], distances)


def test_negative_zeros_are_dropped() -> None:
    bits = np.array([[0x8000, 0x3C00, 0x8000, 0xBC00] * 4], dtype=np.uint16)
    assert np.array_equal(SpmvStreams.encode(bits, 1, MANY).decode(), np.where(bits == 0x8000, 0, bits))


def test_one_long_row_among_empty_ones() -> None:
    bits = np.zeros((100, 3000), dtype=np.uint16)
    bits[50] = 1
    streams = SpmvStreams.encode(bits, 7, MANY)
    assert np.array_equal(streams.decode(), bits)
    assert streams.rows[0, 0] == 50
