"""Block rows hold what was put in, evenly dealt, and products with them are right: emulated on a CPU, clusters and all."""

from __future__ import annotations

import numpy as np
import pytest
from emulated_product import check_product_of_blocks
from emulation import COMPILER, EmulatedDevice
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import blocks

from sparsec.cuda.products.bsr_rows_mma import WIDTHS, BsrRowsMma, RowTiling, microseconds, row_tiling, tile_width
from sparsec.cuda.streams.bsr_rows import MOST, PAIR, QUARTERS, WARPS, Bits, BlockRows


@settings(max_examples=30)
@given(
    st.integers(1, 1700),
    st.integers(1, 1500),
    st.sampled_from([1, 16, 32, 64]),
    st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
    st.integers(0, 1 << 30),
)
def test_rows_round_trip(m: int, k: int, side: int, density: float, seed: int) -> None:
    bits = blocks(m, k, side, density, seed)
    rows = BlockRows.encode(bits)
    assert np.array_equal(rows.decode(), bits)
    strips = rows.tiles["strips"]
    assert sorted(strips[strips >= 0].tolist()) == list(range(-(-m // 32)))
    assert np.array_equal(np.bitwise_count(rows.steps["mask"]), rows.steps["units"])
    assert rows.steps["units"].sum() == len(rows.units)
    for pair in rows.tiles:
        first, second = (rows.steps[tile["first"] :][: tile["steps"]] for tile in pair)
        assert np.array_equal(first["column"], second["column"])
        assert (first["units"] + second["units"] > 0).all()


def test_an_element_lies_where_mma_wants_it() -> None:
    bits = np.zeros((96, 256), dtype=np.uint16)
    bits[64 + 27, 128 + 32 + 13] = 7  # strip 2, the second 32 columns of step 2: rows 16 to 31, columns 0 to 15
    rows = BlockRows.encode(bits)
    tile = next(each for each in rows.tiles.ravel() if 2 in each["strips"])
    warp = tile["strips"].tolist().index(2)
    assert tile["steps"] == 1
    assert rows.steps[tile["first"]].tolist() == (2, 1, 2 << 2 * warp, 0, 0)
    lanes = rows.units[0].view(np.uint16).reshape(2, 2, 32, 4, 2)
    assert np.argwhere(lanes).tolist() == [
        [0, 1, 3 * 4 + 2, 3, 1]
    ]  # row 3 of eight, columns 4 and 5; of both the second eight


def test_quarters_have_as_many_units_at_any_time() -> None:
    kept = np.random.default_rng(1).random((256, 128)) < 0.2
    rows = BlockRows.encode(np.kron(kept, np.ones((32, 32), dtype=np.uint16)))
    totals = []
    for tile in rows.tiles.ravel():
        masks = rows.steps[tile["first"] :][: tile["steps"]]["mask"]
        units = np.bitwise_count(masks[:, None] >> np.arange(0, 2 * WARPS, 2, dtype=np.uint32) & 3)
        units = units.reshape(-1, WARPS // QUARTERS, QUARTERS).sum(axis=1)
        done = units.cumsum(axis=0)
        assert np.ptp(done, axis=1).max() <= 6
        totals.append(done[-1])
    assert np.max(totals) <= 1.1 * np.mean(totals)


def test_both_zeros_are_dropped() -> None:
    bits = np.full((64, 64), 0x8000, dtype=np.uint16)
    assert not len(BlockRows.encode(bits).units)
    bits[0, 0] = 1
    decoded = BlockRows.encode(bits).decode()
    assert decoded[0, 0] == 1
    assert decoded[0, 1] == 0x8000
    assert decoded[32, 0] == 0


@given(st.sampled_from(WIDTHS), st.floats(0, MOST))
def test_a_block_of_threads_fits(tokens: int, units: float) -> None:
    tiling = row_tiling(tokens, units)
    assert tiling.stages % PAIR == 0
    assert tiling.units >= MOST
    assert tiling.shared_bytes <= 227 << 10


@pytest.mark.parametrize(("m", "tokens", "width"), [(8192, 4096, 120), (4096, 4096, 96), (8192, 1024, 88)])
def test_tiles_are_as_wide_as_keeps_multiprocessors_busy(m: int, tokens: int, width: int) -> None:
    assert tile_width(m, tokens, 132) == width


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 5000))
def test_more_units_take_longer(m: int, k: int, tokens: int) -> None:
    most = -(-m // 32) * -(-k // 32)
    assert microseconds(tokens, m, k, 0, 132) <= microseconds(tokens, m, k, most, 132)


@pytest.mark.skipif(COMPILER is None, reason="needs g++")
@settings(max_examples=12, deadline=None)
@given(
    st.tuples(st.integers(1, 900), st.integers(1, 1300), st.integers(1, 150)),
    st.sampled_from([0.0, 0.05, 0.2, 1.0]),
    st.sampled_from([40, 64, 120]),
    st.integers(2, 5),
    st.booleans(),
    st.integers(0, 1 << 30),
)
def test_products_are_right_emulated(
    sizes: tuple[int, int, int], density: float, width: int, workers: int, residual: bool, seed: int
) -> None:
    _check_product(sizes, density, width, workers, residual, seed, {})


@pytest.mark.skipif(COMPILER is None, reason="needs g++")
@pytest.mark.parametrize("warp", [WARPS, WARPS + 1, WARPS + 2])
def test_no_warp_is_passed_by_as_it_is_slow(warp: int) -> None:
    """The second tile has no units at all, for more steps than there are stages."""
    _check_product((11, 2048, 40), 0.5, 40, 2, False, 1, {"SLOW_WARP": warp})


def _check_product(
    sizes: tuple[int, int, int],
    density: float,
    width: int,
    workers: int,
    residual: bool,
    seed: int,
    macros: dict[str, int],
) -> None:
    def make(bits: Bits, dtype: str, on: EmulatedDevice) -> tuple[BsrRowsMma, RowTiling]:
        return BsrRowsMma(BlockRows.encode(bits), dtype, on), row_tiling(width, 24 * density)  # type: ignore[arg-type]

    check_product_of_blocks(make, sizes, density, workers, residual, seed, macros)
