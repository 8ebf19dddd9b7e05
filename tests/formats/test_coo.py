"""Coo: round trips over any shape, and refusal of what is malformed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparsec.formats.coo import Coo

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)
ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.float16, np.int8, np.int64]), SHAPES, elements=st.integers(-2, 2), fill=st.just(0)
)


@given(ARRAYS)
def test_dense_and_back(array):
    coo = Coo.from_dense(array)
    assert coo.nnz == np.count_nonzero(array)
    assert coo.to_dense().dtype == array.dtype
    np.testing.assert_array_equal(coo.to_dense(), array)


@given(ARRAYS, st.randoms())
def test_coordinates_in_any_order(array, random):
    coo = Coo.from_dense(array)
    order = list(range(coo.nnz))
    random.shuffle(order)
    again = Coo.from_coordinates(array.shape, coo.coordinates()[order], coo.values[order])
    np.testing.assert_array_equal(again.indices, coo.indices)
    np.testing.assert_array_equal(again.values, coo.values)


@given(ARRAYS, st.data())
def test_transpose_is_numpy_s(array, data):
    axes = tuple(data.draw(st.permutations(range(array.ndim))))
    np.testing.assert_array_equal(Coo.from_dense(array).transpose(axes).to_dense(), array.transpose(axes))


@given(ARRAYS)
def test_reshape_keeps_the_elements(array):
    shape = (array.size, 1)
    np.testing.assert_array_equal(Coo.from_dense(array).reshape(shape).to_dense(), array.reshape(shape))


@pytest.mark.parametrize("indices", [[3, 1], [1, 1], [-1, 2], [0, 6]])
def test_indices_that_are_no_positions_are_refused(indices):
    with pytest.raises(ValueError, match="indices"):
        Coo((2, 3), np.array(indices, np.int64), np.ones(2, np.float32))


def test_sizes_that_differ_are_refused():
    with pytest.raises(ValueError, match="reshape"):
        Coo.from_dense(np.ones((2, 3), np.float32)).reshape((7,))
    with pytest.raises(ValueError, match="leave the shape"):
        Coo.from_coordinates((2, 3), np.array([[0, 3]]), np.ones(1, np.float32))
