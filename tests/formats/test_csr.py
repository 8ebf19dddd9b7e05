"""CSR keeps every nonzero and nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsec.formats.coo import Coo
from sparsec.formats.csr import Csr


@st.composite
def weights(draw: st.DrawFn) -> NDArray[np.float32]:
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    keep = random.random(shape) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    return np.where(keep, random.standard_normal(shape), 0.0).astype(np.float32)


@given(weights())
def test_decode_gives_back_the_weight(weight: NDArray[np.float32]) -> None:
    for source in (weight, Coo.from_dense(weight)):
        csr = Csr.encode(source)
        np.testing.assert_array_equal(csr.decode(), weight)
        assert csr.nnz == np.count_nonzero(weight)
        assert csr.nbytes == 6 * csr.nnz + 4 * (len(weight) + 1)


@given(weights())
def test_at_reads_one_element(weight: NDArray[np.float32]) -> None:
    csr = Csr.encode(weight)
    matrix = weight.reshape(len(weight), -1)
    for row, column in np.ndindex(*matrix.shape):
        assert csr.at(row, column) == matrix[row, column]


def test_stored_zeros_are_dropped() -> None:
    coo = Coo((2, 3), np.array([1, 4], dtype=np.int64), np.array([0.0, 2.0], dtype=np.float32))
    assert Csr.encode(coo).nnz == 1


def test_wide_rows_have_wide_columns() -> None:
    coo = Coo((2, 1 << 17), np.array([5, 1 << 17, (1 << 18) - 1], dtype=np.int64), np.ones(3, dtype=np.float32))
    csr = Csr.encode(coo)
    assert csr.columns.dtype == np.int32
    np.testing.assert_array_equal(csr.decode(), coo.to_dense())


def test_nonfinite_values_are_kept() -> None:
    weight = np.array([[np.nan, 0.0], [np.inf, 0.0]], dtype=np.float32)
    np.testing.assert_array_equal(Csr.encode(weight).decode(), weight)
