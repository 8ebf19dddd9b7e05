"""Arrays of SciPy and torch become the same nonzeros, whatever their order, and none is made dense."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsec.formats.coo import Coo
from sparsec.formats.interchange import (
    from_bsc,
    from_bsr,
    from_coo,
    from_csc,
    from_csr,
    from_cutlass,
    from_scipy,
    weight_of,
)


@st.composite
def matrices(draw: st.DrawFn) -> NDArray[np.float32]:
    """No rows, no nonzeros and single columns among them."""
    shape = draw(st.integers(0, 5)) * 2, draw(st.integers(0, 5)) * draw(st.sampled_from([1, 3]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    keep = random.random(shape) < draw(st.sampled_from([0.0, 0.2, 1.0]))
    return np.where(keep, random.standard_normal(shape), 0.0).astype(np.float32)


@given(matrices(), st.sampled_from(["csr", "csc", "coo", "dia", "dok", "lil"]), st.booleans())
def test_scipy(matrix: NDArray[np.float32], layout: str, old: bool) -> None:
    sparse = (scipy.sparse.coo_matrix if old else scipy.sparse.coo_array)(matrix).asformat(layout)
    found = weight_of(sparse)
    assert isinstance(found, Coo)
    assert found.nnz == np.count_nonzero(matrix)
    np.testing.assert_array_equal(found.to_dense(), matrix)


@given(matrices(), st.sampled_from([(1, 1), (2, 1), (1, 3), (2, 3)]))
def test_blocks(matrix: NDArray[np.float32], block: tuple[int, int]) -> None:
    (rows, columns), (height, width) = matrix.shape, block
    if not matrix.size or columns % width:
        return
    bsr = scipy.sparse.bsr_array(matrix, blocksize=block)
    turned = scipy.sparse.bsr_array(np.ascontiguousarray(matrix.T), blocksize=(width, height))
    for found in (
        from_scipy(bsr),
        from_bsr((rows, columns), bsr.indptr, bsr.indices, bsr.data),
        from_bsc((rows, columns), turned.indptr, turned.indices, turned.data.transpose(0, 2, 1)),
    ):
        np.testing.assert_array_equal(found.to_dense(), matrix)
        assert found.nnz == np.count_nonzero(matrix)


@given(matrices(), st.randoms(use_true_random=False), st.integers(1, 3))
def test_entries_may_be_in_any_order_and_several_times(matrix: NDArray[np.float32], random, times: int) -> None:
    rows, columns = matrix.shape
    row, column = (np.tile(axis, times) for axis in np.nonzero(matrix))
    values = np.repeat(2.0 ** np.arange(times), len(row) // times) * np.tile(matrix[np.nonzero(matrix)], times)
    order = list(range(len(row)))
    random.shuffle(order)
    row, column, values = row[order], column[order], values[order].astype(np.float32)
    expected = matrix * (2**times - 1)
    found = from_coo((rows, columns), np.stack([row, column]), values)
    np.testing.assert_allclose(found.to_dense(), expected, rtol=1e-6)
    by_row, by_column = np.argsort(row, kind="stable"), np.argsort(column, kind="stable")
    pointers = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))])
    found = from_csr((rows, columns), pointers, column[by_row], values[by_row])
    np.testing.assert_allclose(found.to_dense(), expected, rtol=1e-6)
    pointers = np.concatenate([[0], np.cumsum(np.bincount(column, minlength=columns))])
    found = from_csc((rows, columns), pointers, row[by_column], values[by_column])
    np.testing.assert_allclose(found.to_dense(), expected, rtol=1e-6)


def test_entries_at_one_place_are_added_in_any_order() -> None:
    coo = from_coo((2, 3), np.array([[1, 0, 1], [2, 0, 2]]), np.array([1.0, 2.0, 4.0], dtype=np.float32))
    np.testing.assert_array_equal(coo.to_dense(), [[2, 0, 0], [0, 0, 5]])


@pytest.mark.parametrize("shape", [(3, 1, 2), (4,), (2, 3, 1, 2)])
def test_any_rank(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.testing.assert_array_equal(from_coo(shape, np.stack(np.nonzero(array)), array[array != 0]).to_dense(), array)


def two_of_four(rows: int, columns: int, of: int, seed: int) -> NDArray[np.float32]:
    """Half of each `of` columns, some of these zero as well."""
    random = np.random.default_rng(seed)
    rank = random.random((rows, columns // of, of)).argsort(axis=2).reshape(rows, columns)
    keep = (rank < of // 2) & (random.random((rows, columns)) < 0.8)
    return np.where(keep, random.integers(1, 100, (rows, columns)), 0).astype(np.float32)


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from(["float16", "bfloat16", "float32", "int8"]),
    st.integers(0, 99),
)
def test_semi_structured(down: int, across: int, dtype: str, seed: int) -> None:
    torch = pytest.importorskip("torch")
    from torch.sparse._semi_structured_conversions import sparse_semi_structured_from_dense_cutlass

    rows, columns = (16 * down, 128 * across) if dtype == "int8" else (32 * down, 64 * across)
    dense = two_of_four(rows, columns, 2 if dtype == "float32" else 4, seed)
    packed, meta = sparse_semi_structured_from_dense_cutlass(torch.tensor(dense).to(getattr(torch, dtype)))
    values = packed.float().numpy() if dtype == "bfloat16" else packed.numpy()
    if dtype == "bfloat16":
        values = values.astype(np.float16)  # what counts is that it has 16 bits
    found = from_cutlass((rows, columns), values, meta.numpy())
    assert found.nnz == np.count_nonzero(dense)
    np.testing.assert_array_equal(found.to_dense().astype(np.float32), dense)


@pytest.mark.parametrize(("rows", "columns", "words"), [(32, 64, 2), (31, 64, 4), (32, 60, 4), (32, 16, 1)])
def test_semi_structured_arrays_that_do_not_fit(rows: int, columns: int, words: int) -> None:
    with pytest.raises(ValueError, match="2:4 values"):
        from_cutlass((rows, columns), np.zeros((rows, columns // 2), np.float16), np.zeros((rows, words), np.int16))


def test_dlpack_shares_memory() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6.0).reshape(2, 3)
    found = weight_of(tensor)
    assert isinstance(found, np.ndarray)
    tensor[1, 2] = 7
    assert found[1, 2] == 7
    array = np.ones((2, 0), np.float32)
    assert weight_of(array) is array


def test_what_is_no_weight_is_refused() -> None:
    with pytest.raises(TypeError, match="str"):
        weight_of("weight")

    class Elsewhere:
        def __dlpack__(self, **_: object) -> object:
            raise BufferError("on a GPU")

        def __dlpack_device__(self) -> tuple[int, int]:
            return (2, 0)

    with pytest.raises(ValueError, match="DLPack"):
        weight_of(Elsewhere())


def test_arrays_that_do_not_fit_are_refused() -> None:
    ones = np.ones(2, dtype=np.float32)
    with pytest.raises(ValueError, match="leave the shape"):
        from_coo((2, 2), np.array([[0, 2], [0, 0]]), ones)
    with pytest.raises(ValueError, match="pointers"):
        from_csr((2, 2), np.array([0, 1, 3]), np.array([0, 1]), ones)
    with pytest.raises(ValueError, match="do not divide"):
        from_bsr((3, 2), np.array([0, 1]), np.array([0]), np.ones((1, 2, 2), dtype=np.float32))
    with pytest.raises(ValueError, match="1 places for 2 blocks"):
        from_bsr((2, 2), np.array([0, 1]), np.array([0]), np.ones((2, 2, 2), dtype=np.float32))
    with pytest.raises(ValueError, match="2 places"):
        from_coo((2, 2), np.array([[0, 1], [0, 0]]), np.ones(3, dtype=np.float32))
