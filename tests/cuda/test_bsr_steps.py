"""Block steps hold what was put in, in the order and the places that `bsr_wgmma` takes it from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import blocks

from sparsec.cuda.products.bsr_wgmma import CLUSTERS, StepTiling, Work, microseconds, tilings
from sparsec.cuda.streams.bsr_steps import MOST, STEPS, STRIPS, UNIT_BYTES, BlockSteps, row_tiles


@settings(max_examples=30)
@given(
    st.integers(1, 1700),
    st.integers(1, 300),
    st.sampled_from([1, 16, 32, 64]),
    st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
    st.integers(1, 200),
    st.integers(0, 1 << 30),
)
def test_steps_round_trip(m: int, k: int, side: int, density: float, workers: int, seed: int) -> None:
    bits = blocks(m, k, side, density, seed)
    steps = BlockSteps.encode(bits, workers)
    assert np.array_equal(steps.decode(), bits)
    assert steps.tiles[:, 3].sum() == -(-m // 32)
    assert (steps.tiles[:, 3] > 0).all()
    assert (steps.tiles[:, 3] <= STRIPS).all()
    windows = steps.windows
    assert windows["units"].sum() == len(steps.units)
    assert (windows["units"] > 0).all()
    assert (windows["counts"].sum(axis=(1, 2)) == windows["units"]).all()
    assert (windows["counts"].sum(axis=2).cumsum(axis=1)[:, :-1] == windows["splits"]).all()
    assert (windows["steps"] <= STEPS).all()


def test_a_unit_lies_where_its_descriptor_says() -> None:
    bits = np.zeros((160, 256), dtype=np.uint16)
    bits[134, 172] = 7  # strip 4, the second 32 columns of step 2; row 6 of the unit, the second 16 bytes, element 4
    steps = BlockSteps.encode(bits, 132)
    assert steps.tiles.tolist() == [[0, 1, 0, 5]]
    window = steps.windows[0]
    assert (window["first"], window["units"], window["steps"], window["columns"][0]) == (0, 1, 1, 2)
    assert window["counts"].tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert window["splits"].tolist() == [0, 1]
    assert window["places"][0] == 4
    assert steps.windows.itemsize == 80
    assert steps.units[0].view(np.uint16).reshape(32, 4, 8)[6, 1 ^ 3, 4] == 7


def test_both_zeros_are_dropped() -> None:
    bits = np.full((64, 64), 0x8000, dtype=np.uint16)
    assert not len(BlockSteps.encode(bits, 132).units)
    bits[0, 0] = 1
    decoded = BlockSteps.encode(bits, 132).decode()
    assert decoded[0, 0] == 1
    assert decoded[0, 1] == 0x8000
    assert decoded[32, 0] == 0


@given(st.integers(1, 2000), st.integers(1, 200))
def test_rows_are_cut_into_few_even_tiles(strips: int, workers: int) -> None:
    tiles, fewest = row_tiles(strips, workers), -(-strips // STRIPS)
    assert fewest <= tiles <= min(strips, 1.1 * fewest)
    assert -(-strips // tiles) <= STRIPS


def test_tiles_are_as_many_as_multiprocessors_can_do() -> None:
    assert row_tiles(256, 132) == 24  # for 4096 tokens six rounds of 11 strips, not of 12


def test_a_block_of_threads_fits() -> None:
    for tokens, split in CLUSTERS:
        tiling = StepTiling(tokens, split)
        assert tiling.units >= MOST
        assert tiling.shared_bytes <= 227 << 10
        sums = 12 * 32 * tokens * 4  # that a block of a cluster puts where units and X were
        assert split == 1 or sums <= tiling.stages * STEPS * 128 * 128 + tiling.units * UNIT_BYTES


@pytest.mark.parametrize(("tokens", "split"), [(16, 4), (64, 4), (128, 4), (256, 2), (4096, 1)])
def test_few_tiles_are_split(tokens: int, split: int) -> None:
    work = Work.of(8192, 8192, 8192 * 8192 // 5120, 132)
    best, _ = min(tilings(work, tokens, 132), key=lambda each: each[1])
    assert best.split == split


def test_work_is_about_what_encoding_gives() -> None:
    bits = blocks(2048, 2048, 32, 0.2, 1)
    steps = BlockSteps.encode(bits, 132)
    work = Work.of(2048, 2048, len(steps.units), 132)
    assert work.row_tiles == len(steps.tiles)
    assert work.windows == pytest.approx(len(steps.windows) / len(steps.tiles), rel=0.1)
    assert work.units == pytest.approx(len(steps.units) / len(steps.windows), rel=0.1)


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 300))
def test_more_units_take_longer(m: int, k: int, tokens: int) -> None:
    most = -(-m // 32) * -(-k // 32)
    assert microseconds(tokens, m, k, 0, 132) <= microseconds(tokens, m, k, most, 132)
