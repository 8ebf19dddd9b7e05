"""Every format gives back what it was given: all shapes, all patterns, from arrays and from coordinates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsec.formats.bitmap import Bitmap
from sparsec.formats.blocked import Blocked
from sparsec.formats.coo import Coo
from sparsec.formats.nm import NofM
from sparsec.formats.table import FORMATS, Encoded, Weight

BLOCKS = [(1, 1), (4, 1), (8, 1), (16, 1), (1, 4), (4, 4), (16, 16), (2, 3)]
GROUPS = [(1, 4), (2, 4), (2, 8), (4, 8), (1, 8), (3, 5), (1, 1)]


@st.composite
def weights(draw: st.DrawFn, most: int = 40) -> NDArray[np.float32]:
    """Any rank from 1, empty axes and single columns among them."""
    rows = draw(st.integers(0, most))
    shape = (rows, *draw(st.sampled_from([(), (0,), (1,), (7,), (16,), (33,), (2, 3), (3, 1, 4)])))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    keep = random.random(shape) < draw(st.sampled_from([0.0, 0.05, 0.5, 1.0]))
    return np.where(keep, random.standard_normal(shape), 0.0).astype(np.float32)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[NDArray[np.float32], int, int]:
    """A weight that keeps n of m, with n and m."""
    kept, of = draw(st.sampled_from(GROUPS))
    rows, groups, cut = draw(st.integers(0, 9)), draw(st.integers(0, 5)), draw(st.integers(0, of - 1))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rank = random.random((rows, groups, of)).argsort(axis=2)
    weight = np.where(rank < kept, random.standard_normal(rank.shape), 0.0).astype(np.float32)
    return weight.reshape(rows, groups * of)[:, : max(groups * of - cut, 0)], kept, of


def check(encoded: Encoded, weight: NDArray[np.float32]) -> None:
    assert encoded.shape == weight.shape
    decoded = encoded.decode()
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, weight)
    matrix = weight.reshape(len(weight), math.prod(weight.shape[1:]))
    for place in list(np.ndindex(*matrix.shape))[::7]:
        assert encoded.at(*place) == matrix[place]


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"nm"}))
@given(weights())
def test_round_trip(name: str, weight: NDArray[np.float32]) -> None:
    sources: tuple[Weight, ...] = (weight, Coo.from_dense(weight))
    for source in sources:
        check(FORMATS[name].encode(source), weight)


@given(weights(), st.sampled_from(BLOCKS))
def test_blocks(weight: NDArray[np.float32], block: tuple[int, int]) -> None:
    blocked = Blocked.encode(Coo.from_dense(weight), block)
    check(blocked, weight)
    assert blocked.values.shape == (blocked.blocks, block[1], block[0])
    assert np.count_nonzero(blocked.values) == np.count_nonzero(weight)
    assert (np.count_nonzero(blocked.values, axis=(1, 2)) > 0).all()
    assert 0 < blocked.fill <= 1
    assert blocked.nbytes == 4 * (blocked.values.size + blocked.blocks + len(blocked.pointers))


@given(grouped())
def test_n_of_m(case: tuple[NDArray[np.float32], int, int]) -> None:
    weight, kept, of = case
    for source in (weight, Coo.from_dense(weight)):
        encoded = NofM.encode(source, kept, of)
        check(encoded, weight)
        assert encoded.kept == kept
        assert encoded.nbytes == 5 * encoded.values.size


def test_a_weight_without_the_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="row 1 has more than 1"):
        NofM.encode(np.eye(4, dtype=np.float32)[[0, 0]] + np.array([[0.0], [1.0]]), 1, 4)
    with pytest.raises(ValueError, match="n:m"):
        FORMATS["nm"].encode(np.ones((2, 4), dtype=np.float32))
    with pytest.raises(ValueError, match="5:4"):
        NofM.encode(np.ones((2, 4), dtype=np.float32), 5, 4)


@given(weights())
def test_bitmap_stores_two_bytes_for_sixteen_columns(weight: NDArray[np.float32]) -> None:
    bitmap = Bitmap.encode(weight)
    words = -(-math.prod(weight.shape[1:]) // 16)
    assert bitmap.nbytes == 4 * np.count_nonzero(weight) + 2 * len(weight) * words + 4 * (len(weight) + 1)


def test_the_pattern_of_a_weight_picks_its_block() -> None:
    weight = np.kron(np.eye(6, dtype=np.float32), np.ones((16, 1), dtype=np.float32))
    encoded = FORMATS["blocked"].encode(weight)
    assert isinstance(encoded, Blocked)
    assert encoded.block == (16, 1)
    assert encoded.fill == 1
