"""2:4 tiles hold what was put in, where `wgmma.mma_async.sp` takes it from; products are cut up whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import two_of_four

from sparsec.cuda.products.nm24_wgmma import best_tiling, tilings
from sparsec.cuda.streams.nm24_tiles import Nm24Tiles
from sparsec.errors import ModelError

SHARED_BYTES = 227 << 10  # of an H100


@pytest.mark.parametrize("dtype", [np.uint16, np.uint8])
@settings(max_examples=20)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 1 << 30))
def test_tiles_round_trip(dtype: type[np.uint16 | np.uint8], m: int, k: int, seed: int) -> None:
    bits = two_of_four(m, k, seed).astype(dtype)  # of 8 bits some more zeros
    tiles = Nm24Tiles.encode(bits)
    assert np.array_equal(tiles.decode(), bits)
    assert tiles.blocks.shape == (-(-m // 64), -(-k * bits.itemsize // 128), 4608 if bits.itemsize == 2 else 5120)


def test_a_value_and_its_index_lie_where_the_instruction_takes_them_from() -> None:
    bits = np.zeros((64, 64), dtype=np.uint16)
    bits[29, 47], bits[29, 45] = 0x4321, 0x1234  # group 11, places 1 and 3
    block = Nm24Tiles.encode(bits).blocks[0, 0]
    chunk = 11 // 4 ^ 29 // 2 % 4
    assert block[29 * 64 + chunk * 16 + 11 % 4 * 4 :][:4].view(np.uint16).tolist() == [0x1234, 0x4321]
    thread = 1 * 32 + 29 % 8 * 4 + 11 // 4  # of warp 1, whose rows are 16 to 31; row 29 is the second half's
    assert block[4096 + thread * 4 :][:4].view(np.uint32)[0] >> 16 + 11 % 4 * 4 & 15 == 1 | 3 << 2


def test_a_byte_and_its_index_lie_where_the_instruction_takes_them_from() -> None:
    bits = np.zeros((64, 128), dtype=np.uint8)
    bits[29, 110], bits[29, 111] = 0x43, 0x21  # group 27: of the second 64 columns 11; places 2 and 3
    block = Nm24Tiles.encode(bits).blocks[0, 0]
    chunk = 27 // 8 ^ 29 // 2 % 4
    assert block[29 * 64 + chunk * 16 + 27 % 8 * 2 :][:2].tolist() == [0x43, 0x21]
    thread = 1 * 32 + 29 % 8 * 4 + 1 * 2 + 1  # the second 32 of the columns, row + 8
    assert block[4096 + 512 + thread * 4 :][:4].view(np.uint32)[0] >> 3 * 4 & 15 == 2 | 3 << 2


def test_three_of_four_are_refused_where_they_are() -> None:
    bits = np.zeros((600, 200), dtype=np.uint16)
    bits[513, 72:75] = 1
    with pytest.raises(ModelError, match="not 2:4") as caught:
        Nm24Tiles.encode(bits)
    assert caught.value.where == "row 513, columns 72 and on"


@given(st.integers(1, 20000), st.integers(1, 40000), st.integers(1, 40000), st.integers(1, 200))
def test_all_tiles_are_done_and_fit(tokens: int, m: int, k: int, workers: int) -> None:
    for tiling, cycles in tilings(tokens, m, k, workers, SHARED_BYTES):
        count = -(-m // tiling.rows) * -(-tokens // tiling.tokens)
        assert 0 <= tiling.whole <= count
        assert tiling.split > 1 or tiling.whole == count
        assert tiling.split <= -(-k // 64)
        assert tiling.together >= 1
        assert tiling.stages >= 2
        assert tiling.shared_bytes <= SHARED_BYTES
        assert cycles > 0


def test_more_tokens_have_larger_tiles_and_few_tiles_are_cut() -> None:
    areas = [best.rows * best.tokens for best in (best_tiling(n, 8192, 8192, 132, SHARED_BYTES) for n in (64, 4096))]
    assert areas[0] < areas[1]
    assert best_tiling(33, 256, 28672, 132, SHARED_BYTES).split > 1
