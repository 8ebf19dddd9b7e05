"""Bank streams hold what was put in, whoever works on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import unstructured

from sparsec.cuda.products.coo_wgmma import ROOM, TOKENS, width
from sparsec.cuda.products.device_cost import HOPPER_SHARED_BYTES
from sparsec.cuda.streams.bank_streams import MOST_BYTES, SCATTERERS, TILES, BankStreams


@settings(max_examples=20)
@given(
    st.tuples(st.integers(1, 600), st.integers(1, 300), st.integers(1, 5), st.integers(0, 1 << 30)),
    st.sampled_from([0.0, 0.02, 0.1, 0.2, 0.6, 1.0]),
)
def test_bank_streams_round_trip(sizes: tuple[int, int, int, int], density: float) -> None:
    m, k, workers, seed = sizes
    bits = unstructured(m, k, density, seed)
    streams = BankStreams.encode(bits, workers)
    assert np.array_equal(streams.decode(), bits)
    assert streams.nnz == np.count_nonzero(bits)
    rounds = (np.diff(streams.offsets.astype(np.int64)) - streams.main * 3 // 2) // 2
    assert len(rounds) == TILES * streams.partition.cuts[-1]
    assert (rounds.min(), rounds.max()) == (streams.least, streams.rounds)


def test_a_worker_s_warps_begin_where_the_ones_before_end() -> None:
    streams = BankStreams.encode(unstructured(300, 1000, 0.1, 0), 3)
    cuts = streams.partition.cuts * TILES
    for worker, heads in enumerate(streams.heads()):
        sizes = [len(range(warp, cuts[worker + 1] - cuts[worker], SCATTERERS)) for warp in range(SCATTERERS)]
        firsts = cuts[worker] + np.cumsum([0, *sizes[:-1]])
        assert heads[:, 0].tolist() == streams.offsets[firsts].tolist()
        for own, first, size in zip(heads, firsts, sizes, strict=True):
            assert own.tolist() == streams.offsets[first + np.minimum(np.arange(4), size)].tolist()


@pytest.mark.parametrize(("density", "most"), [(0.1, 3.5), (0.2, 3.35)])
def test_most_nonzeros_have_three_bytes(density: float, most: float) -> None:
    bits = unstructured(1024, 4096, density, 0)
    assert BankStreams.encode(bits, 4).nbytes < most * np.count_nonzero(bits)


def test_negative_zeros_are_dropped() -> None:
    bits = np.array([[0x8000, 0x3C00, 0x8000, 0xBC00] * 4], dtype=np.uint16)
    assert np.array_equal(BankStreams.encode(bits, 1).decode(), np.where(bits == 0x8000, 0, bits))


def test_there_are_streams_for_even_weights_only() -> None:
    bits = unstructured(1024, 2048, 0.05, 0)
    assert BankStreams.encode(bits, 4).even
    bits[:64, :256] = 1
    assert not BankStreams.encode(bits, 4).even


@pytest.mark.parametrize("tokens", [1, 16, 17, 64, 200])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.2])
def test_there_is_shared_memory_for_points(tokens: int, density: float) -> None:
    streams = BankStreams.encode(unstructured(256, 512, density, 0), 2)
    largest = replace(streams, rounds=(MOST_BYTES - 96 * streams.main) // 128)
    assert largest.even
    for each in (streams, largest):
        by = width(each, tokens, HOPPER_SHARED_BYTES)
        assert by.shared_bytes <= HOPPER_SHARED_BYTES
        assert (by.places, by.ahead) in ROOM
        assert by.tokens >= min(tokens, TOKENS[-1])
