"""The formats of GPU kernels hold what was put in, whoever works on it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matrices import two_of_four, unstructured
from targets import Target

from sparsec.cuda.products.form import encoded_as
from sparsec.cuda.streams import partition
from sparsec.cuda.streams.coo_streams import CooStreams
from sparsec.cuda.streams.lane_streams import LaneStreams, PairStreams, ValueStreams
from sparsec.cuda.streams.nm24_byte_streams import Nm24ByteStreams
from sparsec.cuda.streams.nm24_streams import Nm24Streams
from sparsec.errors import ModelError

SIZES = st.tuples(st.integers(1, 1100), st.integers(1, 150), st.integers(1, 5), st.integers(0, 1 << 30))


@pytest.fixture(autouse=True, params=[1, 2])
def _halves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to share rows, whatever the size."""
    monkeypatch.setattr(partition, "LARGE", 0 if request.param == 1 else 1 << 60)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIZES, st.sampled_from([0.0, 0.02, 0.1, 0.29, 0.31, 0.5, 0.9, 1.0]))
def test_lane_streams_round_trip(sizes: tuple[int, int, int, int], density: float) -> None:
    m, k, workers, seed = sizes
    bits = unstructured(m, k, density, seed)
    streams = LaneStreams.encode(bits, workers)
    assert np.array_equal(streams.decode(), bits)
    assert streams.nnz == np.count_nonzero(bits)
    assert 1 <= streams.chunks <= 17
    assert len(streams.offsets) == 16 * streams.partition.batches_before()[-1] + 1
    assert not (streams.offsets * 16 % 128).any(), "batches begin with a line of memory"


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIZES)
def test_nm24_streams_round_trip(sizes: tuple[int, int, int, int]) -> None:
    m, k, workers, seed = sizes
    bits = two_of_four(m, k, seed)
    assert np.array_equal(Nm24Streams.encode(bits, workers).decode(), bits)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIZES)
def test_nm24_byte_streams_round_trip(sizes: tuple[int, int, int, int]) -> None:
    m, k, workers, seed = sizes
    bits = (two_of_four(m, k, seed) >> 8).astype(np.uint8)
    streams = Nm24ByteStreams.encode(bits, workers)
    assert np.array_equal(streams.decode(), bits)
    assert streams.units.nbytes == streams.partition.cuts[-1] * 16 * streams.step_bytes


def test_a_byte_and_its_index_lie_where_lanes_take_them_from() -> None:
    bits = np.zeros((32, 128), dtype=np.uint8)
    bits[25, 110], bits[25, 111] = (
        0x43,
        0x21,
    )  # the second 16 rows, row 8 + 1; 64 columns and 46, 47: group 11, places 2, 3
    unit = Nm24ByteStreams.encode(bits, 1).units.reshape(-1, 2560)
    step = unit[np.flatnonzero(unit.any(axis=1))[0]]
    lane = 1 * 4 + 1  # groups 10 and 11 are lane 1's of four, of the second 32 columns: register 2 + 1
    assert step[512 + (1 * 2 + 1) * 512 + lane * 16 + 3 * 4 :][:4].tolist() == [0, 0, 0x43, 0x21]
    lane = 1 * 4 + 1 * 2 + 1  # its index word: the second 32 columns, row + 8
    word = step[lane * 16 + (1 * 2 + 1) * 4 :][:4].view(np.uint32)[0]
    assert word >> 3 * 4 & 15 == 2 | 3 << 2


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIZES, st.sampled_from([0.0, 0.02, 0.1, 0.2, 0.6, 1.0]), st.sampled_from([2, 4]))
def test_coo_streams_round_trip(sizes: tuple[int, int, int, int], density: float, widest: int) -> None:
    m, k, workers, seed = sizes
    bits = unstructured(m, k, density, seed)
    streams = CooStreams.encode(bits, workers, widest)
    assert np.array_equal(streams.decode(), bits)
    assert streams.nnz == np.count_nonzero(bits)
    assert streams.partition.batch <= widest
    counts = np.diff(streams.offsets)
    assert (counts >= streams.least).all()
    assert counts.max() <= streams.rounds


def test_points_of_a_round_have_banks_of_their_own_as_far_as_can_be() -> None:
    streams = CooStreams.encode(unstructured(1024, 2048, 0.1, 0), 4)
    worst = []
    for begin, end in itertools.pairwise(streams.offsets[:200]):
        points = [each[each >> 17 < 4096] >> 18 & 31 for each in streams.units[begin:end]]
        most = int(np.bincount(np.concatenate(points), minlength=32).max())
        worst.append(sum(int(np.bincount(each).max(initial=0)) for each in points) / max(most, end - begin))
    assert np.mean(worst) < 1.2


def test_uneven_weights_are_not_kept_as_points() -> None:
    bits = unstructured(1024, 2048, 0.05, 0)
    assert CooStreams.encode(bits, 4).even
    bits[:64, :256] = 1
    assert not CooStreams.encode(bits, 4).even
    assert encoded_as("coo_mma", bits, Target(4)) is None


def test_negative_zeros_are_dropped() -> None:
    bits = np.array([[0x8000, 0x3C00, 0x8000, 0xBC00] * 4], dtype=np.uint16)
    expected = np.where(bits == 0x8000, 0, bits)
    assert np.array_equal(LaneStreams.encode(bits, 1).decode(), expected)
    assert np.array_equal(CooStreams.encode(bits, 1).decode(), expected)
    assert np.array_equal(Nm24Streams.encode(bits, 1).decode(), expected)


def test_three_of_four_are_refused_where_they_are() -> None:
    bits = np.zeros((600, 200), dtype=np.uint16)
    bits[513, 72:75] = 1
    with pytest.raises(ModelError, match="not 2:4") as caught:
        Nm24Streams.encode(bits, 3)
    assert caught.value.where == "row 513, columns 72 and on"
    assert caught.value.got == "3 nonzeros"


@pytest.mark.parametrize("density", [0.2, 0.5])
def test_lane_streams_have_a_bit_an_element_and_the_values(density: float) -> None:
    bits = unstructured(1024, 4096, density, 0)
    assert LaneStreams.encode(bits, 4).nbytes < 1.08 * (bits.size / 8 + 2 * np.count_nonzero(bits))


@pytest.mark.parametrize("density", [0.05, 0.1])
def test_lane_streams_of_sparse_weights_have_a_bit_a_pair_and_the_pairs(density: float) -> None:
    bits = unstructured(1024, 4096, density, 0)
    pairs = np.count_nonzero(bits.reshape(-1, 2).any(axis=1))
    assert LaneStreams.encode(bits, 4).nbytes < 1.08 * (bits.size / 16 + 4 * pairs)


@pytest.mark.parametrize(("density", "kind"), [(0.0, PairStreams), (0.1, PairStreams), (0.2, ValueStreams)])
def test_items_of_sparse_weights_are_pairs(density: float, kind: type[LaneStreams]) -> None:
    assert isinstance(LaneStreams.encode(unstructured(512, 256, density, 0), 2), kind)


def test_coo_streams_have_four_bytes_a_nonzero() -> None:
    bits = unstructured(1024, 4096, 0.1, 0)
    assert CooStreams.encode(bits, 4).nbytes < 1.1 * 4 * np.count_nonzero(bits)


def test_nm24_streams_have_nine_eighths_of_a_byte_an_element() -> None:
    bits = two_of_four(1024, 4096, 0)
    assert Nm24Streams.encode(bits, 4).units.nbytes == bits.size * 9 // 8


@pytest.mark.parametrize(("density", "words"), [(0.1, 2), (0.2, 4), (0.3, 4), (0.5, 2), (0.9, 2), (1.0, 2)])
def test_sparser_weights_have_longer_batches(density: float, words: int) -> None:
    assert LaneStreams.encode(unstructured(512, 256, density, 0), 2).partition.batch == words


def test_batches_are_shorter_where_there_is_less_shared_memory() -> None:
    bits = unstructured(512, 512, 0.5, 0)
    streams = LaneStreams.encode(bits, 2, 99 << 10)
    assert streams.partition.batch == 1
    assert np.array_equal(streams.decode(), bits)


def test_chunks_that_nearly_all_lanes_take_are_whole_rows() -> None:
    bits = unstructured(1024, 4096, 0.5, 0)
    streams = LaneStreams.encode(bits, 4)
    assert 1 <= streams.full < streams.held <= streams.chunks
    assert np.array_equal(streams.decode(), bits)


def test_there_are_no_whole_rows_where_the_weight_is_uneven() -> None:
    bits = unstructured(1024, 1024, 1.0, 0)
    bits[::2] = 0
    streams = LaneStreams.encode(bits, 4)
    assert streams.full == 0
    assert np.array_equal(streams.decode(), bits)


@pytest.mark.parametrize(("density", "usual"), [(0.05, 2), (0.2, 4)])
def test_batches_are_shorter_where_a_part_of_the_weight_is_dense(density: float, usual: int) -> None:
    bits = unstructured(1024, 2048, density, 0)
    bits[:128, :256] = 1
    streams = LaneStreams.encode(bits, 4)
    assert streams.partition.batch < usual
    assert np.array_equal(streams.decode(), bits)
