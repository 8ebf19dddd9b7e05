"""Tall tiles hold what was put in, evenly dealt, and products with them are right: emulated on a CPU, clusters and all."""

from __future__ import annotations

import numpy as np
import pytest
from emulated_product import check_product_of_blocks
from emulation import COMPILER, EmulatedDevice
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import blocks

from sparsec.cuda.products.bsr_tall_wgmma import STAGES, BsrTallWgmma, TallTiling, microseconds, tall_tiling
from sparsec.cuda.streams.bsr_tall import BOXES, GROUPS, MOST, STEPS, STRIPS, WINDOW, Bits, TallTiles, row_tiles


@settings(max_examples=30)
@given(
    st.integers(1, 1700),
    st.integers(1, 1500),
    st.sampled_from([1, 16, 32, 64]),
    st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
    st.integers(1, 200),
    st.integers(0, 1 << 30),
)
def test_tiles_round_trip(m: int, k: int, side: int, density: float, workers: int, seed: int) -> None:
    bits = blocks(m, k, side, density, seed)
    tall = TallTiles.encode(bits, workers)
    assert np.array_equal(tall.decode(), bits)
    strips = tall.tiles["strips"]
    assert sorted(strips[strips >= 0].tolist()) == list(range(-(-m // 32)))
    windows = tall.windows
    assert np.array_equal(np.bitwise_count(windows["masks"]).sum(axis=1), windows["units"])
    assert windows["units"].sum() == len(tall.units)
    assert ((windows["units"] > 0) & (windows["units"] <= MOST)).all()
    assert ((windows["steps"] > 0) & (windows["steps"] <= tall.steps)).all()


def test_a_unit_lies_where_its_window_says() -> None:
    bits = np.zeros((160, 256), dtype=np.uint16)
    bits[134, 172] = 7  # strip 4, the second 32 columns of step 2; row 6 of the unit, the second 16 bytes, element 4
    tall = TallTiles.encode(bits, 132)
    tile, window = next((tile, tall.windows[0]) for tile in tall.tiles if 4 in tile["strips"])
    group, place = np.argwhere(tile["strips"] == 4)[0].tolist()
    assert (window["first"], window["units"], window["steps"], window["columns"][0]) == (0, 1, 1, 2)
    assert window["masks"].tolist()[group] == 2 << BOXES * place
    assert tall.units[0].view(np.uint16).reshape(32, 4, 8)[6, 1 ^ 3, 4] == 7
    assert WINDOW.itemsize % 16 == 0


def test_tiles_and_warpgroups_have_as_many_units() -> None:
    kept = np.random.default_rng(1).random((256, 128)) < 0.2
    tall = TallTiles.encode(np.kron(kept, np.ones((32, 32), dtype=np.uint16)), 132)
    loads = [
        np.bitwise_count(tall.windows["masks"][tile["first"] :][: tile["windows"]]).sum(axis=0, dtype=int)
        for tile in tall.tiles
    ]
    totals = np.array(loads).sum(axis=1)
    assert totals.max() <= 1.02 * totals.mean()
    assert np.max(loads) <= 1.1 * np.array(loads)[:, :GROUPS].max(axis=1).mean()


def test_both_zeros_are_dropped() -> None:
    bits = np.full((64, 64), 0x8000, dtype=np.uint16)
    assert not len(TallTiles.encode(bits, 132).units)
    bits[0, 0] = 1
    decoded = TallTiles.encode(bits, 132).decode()
    assert decoded[0, 0] == 1
    assert decoded[0, 1] == 0x8000
    assert decoded[32, 0] == 0


@given(st.integers(1, 2000), st.integers(1, 200))
def test_strips_are_dealt_to_few_tiles(strips: int, workers: int) -> None:
    tiles, fewest = row_tiles(strips, workers), -(-strips // (GROUPS * STRIPS))
    assert fewest <= tiles <= min(strips, 1.2 * fewest)


def test_tiles_are_as_many_as_multiprocessors_can_do() -> None:
    assert row_tiles(256, 132) == 12  # for 4096 tokens six rounds of 22 strips, not of 24


@given(st.sampled_from(STEPS), st.floats(0, MOST))
def test_a_block_of_threads_fits(steps: int, units: float) -> None:
    tiling = tall_tiling(steps, units)
    assert tiling.units >= MOST
    assert tiling.shared_bytes <= 227 << 10


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 5000))
def test_more_units_take_longer(m: int, k: int, tokens: int) -> None:
    most = -(-m // 32) * -(-k // 32)
    assert microseconds(tokens, m, k, 0, 132) <= microseconds(tokens, m, k, most, 132)


@pytest.mark.skipif(COMPILER is None, reason="needs g++")
@settings(max_examples=12, deadline=None)
@given(
    st.tuples(st.integers(1, 900), st.integers(1, 1300), st.integers(1, 300)),
    st.sampled_from([0.0, 0.05, 0.2, 1.0]),
    st.integers(0, 2),
    st.integers(2, 5),
    st.booleans(),
    st.integers(0, 1 << 30),
)
def test_products_are_right_emulated(
    sizes: tuple[int, int, int], density: float, fewer: int, workers: int, residual: bool, seed: int
) -> None:
    _check_product(sizes, density, fewer, workers, residual, seed, {})


@pytest.mark.skipif(COMPILER is None, reason="needs g++")
@pytest.mark.parametrize("warp", [0, 4 * GROUPS, 4 * GROUPS + 1])
def test_no_warp_is_passed_by_as_it_is_slow(warp: int) -> None:
    """The second tile has other tokens; units are in the ring more than once."""
    _check_product((70, 2048, 200), 0.5, 0, 2, False, 1, {"SLOW_WARP": warp})


def _check_product(
    sizes: tuple[int, int, int],
    density: float,
    fewer: int,
    workers: int,
    residual: bool,
    seed: int,
    macros: dict[str, int],
) -> None:
    def make(bits: Bits, dtype: str, on: EmulatedDevice) -> tuple[BsrTallWgmma, TallTiling]:
        weight = BsrTallWgmma(TallTiles.encode(bits, workers), dtype, on)  # type: ignore[arg-type]
        usual = weight.tiling(sizes[2])
        return weight, TallTiling(usual.steps, max(STAGES[-1], usual.stages - fewer))

    check_product_of_blocks(make, sizes, density, workers, residual, seed, macros)
