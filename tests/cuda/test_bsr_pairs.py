"""Block pairs hold what was put in, in the order and the places that `bsr_pairs_wgmma` takes it from."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import blocks

from sparsec.cuda.products.bsr_pairs_wgmma import pair_tiling
from sparsec.cuda.streams.bsr_pairs import BlockPairs, alike

SHARED_BYTES = 227 << 10  # of an H100


@settings(max_examples=30)
@given(
    st.integers(1, 1700),
    st.integers(1, 300),
    st.sampled_from([1, 16, 32, 64]),
    st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
    st.integers(0, 1 << 30),
)
def test_pairs_round_trip(m: int, k: int, side: int, density: float, seed: int) -> None:
    bits = blocks(m, k, side, density, seed)
    encoded = BlockPairs.encode(bits)
    assert np.array_equal(encoded.decode(), bits)
    strips = encoded.tiles["strips"]
    assert sorted(strips[strips >= 0].tolist()) == list(range(-(-m // 32)))
    assert encoded.tiles["pieces"].sum() == len(encoded.pieces)
    assert (encoded.pieces >> 16 > 0).all()
    assert np.bitwise_count(encoded.pieces >> 16).sum() == len(encoded.units)


def test_a_unit_lies_where_its_descriptor_says() -> None:
    bits = np.zeros((96, 256), dtype=np.uint16)
    bits[70, 172] = 7  # strip 2, units of 64 columns: 2; row 6, the sixth 16 bytes, element 4
    encoded = BlockPairs.encode(bits)
    (tile,) = encoded.tiles
    assert sorted(tile["strips"].tolist()) == [-1, -1, -1, 0, 1, 2]
    which = tile["strips"].tolist().index(2)
    assert encoded.pieces.tolist() == [2 | 1 << 16 + which]
    assert encoded.units[0].view(np.uint16).reshape(32, 8, 8)[6, 5 ^ 6, 4] == 7


def test_strips_with_the_same_columns_are_together() -> None:
    kept = np.zeros((6, 8), dtype=bool)
    kept[[0, 3], :4] = kept[[1, 5], 4:] = kept[[2, 4], ::2] = True
    assert sorted(map(sorted, alike(kept, 2).tolist())) == [[0, 3], [1, 5], [2, 4]]
    assert sorted(alike(kept[:5], 3).ravel().tolist()) == [-1, 0, 1, 2, 3, 4]
    assert alike(np.zeros((3, 0), dtype=bool), 2).shape == (2, 2)


def test_both_zeros_are_dropped() -> None:
    bits = np.full((64, 64), 0x8000, dtype=np.uint16)
    assert not len(BlockPairs.encode(bits).units)
    bits[0, 0] = 1
    decoded = BlockPairs.encode(bits).decode()
    assert decoded[0, 0] == 1
    assert decoded[0, 1] == 0x8000
    assert decoded[32, 0] == 0


@given(st.integers(1, 20000), st.integers(1, 200), st.integers(1, 300))
def test_tiles_fit(tokens: int, workers: int, rows: int) -> None:
    tiling = pair_tiling(rows, tokens, workers, SHARED_BYTES)
    assert tiling.tokens % 16 == 0
    assert tiling.tokens <= 192
    assert 2 <= tiling.stages <= 32
    assert tiling.slots >= 3
    assert tiling.shared_bytes <= SHARED_BYTES


def test_tiles_are_as_wide_as_multiprocessors_are_busy() -> None:
    rows = len(BlockPairs.encode(blocks(8192, 1024, 64, 0.1, 0)).tiles)
    assert pair_tiling(rows, 64, 132, SHARED_BYTES).tokens == 64
    tokens = pair_tiling(rows, 4096, 132, SHARED_BYTES).tokens
    tiles = rows * -(-4096 // tokens)
    assert tiles / (132 * -(-tiles // 132)) > 0.95
