"""Block steps hold what was put in, in the order and the places that `bsr_wgmma` takes it from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import blocks

from sparsec.cuda.products.bsr_wgmma import SHARED_BYTES, UNITS, block_tiling
from sparsec.cuda.streams.bsr_steps import UNIT_BYTES, BlockSteps


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 1700),
    st.integers(1, 300),
    st.sampled_from([1, 16, 32, 64]),
    st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
    st.integers(0, 1 << 30),
)
def test_steps_round_trip(m: int, k: int, side: int, density: float, seed: int) -> None:
    bits = blocks(m, k, side, density, seed)
    steps = BlockSteps.encode(bits)
    assert np.array_equal(steps.decode(), bits)
    assert steps.tiles[:, 3].sum() == -(-m // 32)
    assert (steps.tiles[:, 3] <= steps.strips).all()
    windows = steps.windows
    assert windows["units"].sum() == len(steps.units)
    assert (windows["units"] > 0).all()
    assert (windows["counts"].sum(axis=(1, 2)) == windows["units"]).all()
    assert (windows["counts"][:, 0].sum(axis=1) == windows["split"]).all()
    assert (windows["steps"] <= 4 * steps.strips // 24).all()


def test_a_unit_lies_where_its_descriptor_says() -> None:
    bits = np.zeros((96, 256), dtype=np.uint16)
    bits[70, 172] = 7  # strip 2, the second 32 columns of step 2; row 6 of the unit, the second 16 bytes, element 4
    steps = BlockSteps.encode(bits)
    assert steps.tiles.tolist() == [[0, 1, 0, 3]]
    window = steps.windows[0]
    assert (window["first"], window["units"], window["steps"], window["columns"][0]) == (0, 1, 1, 2)
    assert window["counts"].tolist() == [[0, 0, 1] + 9 * [0], 12 * [0]]
    assert window["places"][0] == 4
    assert steps.windows.itemsize == 144
    assert steps.units[0].view(np.uint16).reshape(32, 4, 8)[6, 1 ^ 3, 4] == 7


def test_both_zeros_are_dropped() -> None:
    bits = np.full((64, 64), 0x8000, dtype=np.uint16)
    assert not len(BlockSteps.encode(bits).units)
    bits[0, 0] = 1
    decoded = BlockSteps.encode(bits).decode()
    assert decoded[0, 0] == 1
    assert decoded[0, 1] == 0x8000
    assert decoded[32, 0] == 0


@pytest.mark.parametrize(("density", "strips"), [(0.05, 24), (0.1, 24), (0.3, 12), (1.0, 12)])
def test_sparser_weights_have_higher_tiles(density: float, strips: int) -> None:
    steps = BlockSteps.encode(blocks(2048, 2048, 32, density, 0))
    assert steps.strips == strips
    assert block_tiling(steps).tiles * strips == 24
    assert steps.windows["units"].max() <= UNITS
    assert SHARED_BYTES <= 227 << 10
    assert steps.nbytes >= len(steps.units) * UNIT_BYTES
