"""What is known of zeros before a matrix is encoded, against counting them one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import blocks, two_of_four, unstructured

from sparsec.cuda.streams.zeros import Zeros


def counted(bits: np.ndarray, side: int) -> int:
    """Squares with a nonzero."""
    kept = (bits << 1) != 0
    return sum(
        bool(kept[row : row + side, column : column + side].any())
        for row in range(0, len(bits), side)
        for column in range(0, bits.shape[1], side)
    )


@settings(max_examples=30)
@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from([1, 16, 32, 64]), st.integers(0, 1 << 30))
def test_units_and_squares_are_counted(m: int, k: int, side: int, seed: int) -> None:
    bits = blocks(m, k, side, 0.3, seed)
    zeros = Zeros.of(bits)
    assert (zeros.m, zeros.k, zeros.nonzeros) == (m, k, np.count_nonzero(bits))
    assert (zeros.units, zeros.squares) == (counted(bits, 32), counted(bits, 64))


def test_two_of_four_is_seen() -> None:
    assert Zeros.of(np.array([[1, 0, 1, 0, 1]], np.uint16)).two_of_four
    assert not Zeros.of(np.array([[1, 1, 1, 0, 1]], np.uint16)).two_of_four
    assert Zeros.of(np.array([[1, 1, 0x8000, 0x8000]], np.uint16)).two_of_four, "minus zero is a zero"
    assert Zeros.of(two_of_four(70, 132, 1)).two_of_four
    assert not Zeros.of(unstructured(70, 130, 0.5, 1)).two_of_four


@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_torch_counts_alike(density: float) -> None:
    torch = pytest.importorskip("torch")
    from sparsec.cuda.torch.choice import zeros_of

    bits = blocks(100, 203, 16, density, 1) & 0x3FFF
    assert zeros_of(torch.from_numpy(bits.view(np.float16))) == Zeros.of(bits)
