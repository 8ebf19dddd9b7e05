"""Sparse arrays of SciPy and torch become the same nonzeros."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsec.formats.interchange import from_bsr, from_coo, from_csc, from_csr


@st.composite
def matrices(draw: st.DrawFn) -> NDArray[np.float32]:
    shape = draw(st.integers(0, 5)) * 2, draw(st.integers(0, 5)) * 3
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    keep = random.random(shape) < draw(st.sampled_from([0.0, 0.2, 1.0]))
    return np.where(keep, random.standard_normal(shape), 0.0).astype(np.float32)


@given(matrices())
def test_scipy(matrix: NDArray[np.float32]) -> None:
    shape = (matrix.shape[0], matrix.shape[1])
    csr, csc = scipy.sparse.csr_array(matrix), scipy.sparse.csc_array(matrix)
    np.testing.assert_array_equal(from_csr(shape, csr.indptr, csr.indices, csr.data).to_dense(), matrix)
    np.testing.assert_array_equal(from_csc(shape, csc.indptr, csc.indices, csc.data).to_dense(), matrix)
    if matrix.size:
        bsr = scipy.sparse.bsr_array(matrix, blocksize=(2, 3))
        np.testing.assert_array_equal(from_bsr(shape, bsr.indptr, bsr.indices, bsr.data).to_dense(), matrix)


def test_entries_at_one_place_are_added_in_any_order() -> None:
    coo = from_coo((2, 3), np.array([[1, 0, 1], [2, 0, 2]]), np.array([1.0, 2.0, 4.0], dtype=np.float32))
    np.testing.assert_array_equal(coo.to_dense(), [[2, 0, 0], [0, 0, 5]])
    csr = from_csr((1, 4), np.array([0, 3]), np.array([3, 1, 3]), np.array([1.0, 2.0, 4.0]))
    np.testing.assert_array_equal(csr.to_dense(), [[0, 2, 0, 5]])


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    dense = torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0], [3.0, 4.0]])
    coo = dense.to_sparse()
    np.testing.assert_array_equal(from_coo((4, 2), coo.indices().numpy(), coo.values().numpy()).to_dense(), dense)


def test_arrays_that_do_not_fit_are_refused() -> None:
    ones = np.ones(2, dtype=np.float32)
    with pytest.raises(ValueError, match="leave the shape"):
        from_coo((2, 2), np.array([[0, 2], [0, 0]]), ones)
    with pytest.raises(ValueError, match="pointers"):
        from_csr((2, 2), np.array([0, 1, 3]), np.array([0, 1]), ones)
    with pytest.raises(ValueError, match="do not divide"):
        from_bsr((3, 2), np.array([0, 1]), np.array([0]), np.ones((1, 2, 2), dtype=np.float32))
    with pytest.raises(ValueError, match="2 places"):
        from_coo((2, 2), np.array([[0, 1], [0, 0]]), np.ones(3, dtype=np.float32))
