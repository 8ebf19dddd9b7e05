"""Matrices of 16-bit numbers among NaN, for the tests of dense kernels, and how far off a result may be."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.dense_operands import Matrices

NUMPY = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
_UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # half of what a rounding changes at most, relative


def random_halves(generator: np.random.Generator, shape: tuple[int, ...], dtype: str) -> NDArray[np.generic]:
    """Normal numbers."""
    return generator.standard_normal(shape).astype(NUMPY[dtype])


def guarded(
    values: NDArray[np.generic], stride_of: int, *, transposed: bool = False
) -> tuple[NDArray[np.uint16], Matrices]:
    """Matrices [outer, inner, rows, columns] in memory that is NaN between and around them.

    Strides are multiples of `stride_of` and the first element is at a multiple of 16 bytes where `stride_of` is 8.
    """
    outer, inner, rows, columns = values.shape
    lines, length = (columns, rows) if transposed else (rows, columns)
    stride = -(-(length + 3) // stride_of) * stride_of
    each = stride * lines + -(-5 // stride_of) * stride_of
    space = np.full(outer * inner * each + 64, 0x7FFF, dtype=np.uint16)
    begin = -space.ctypes.data % 16 // 2 + 16 + (0 if stride_of == 8 else 1)
    place = Matrices(space.ctypes.data + 2 * begin, stride, transposed, inner * each, each)
    _at(space, place, values.shape)[...] = values.view(np.uint16)
    return space, place


def inside(
    space: NDArray[np.uint16], place: Matrices, shape: tuple[int, ...], dtype: str
) -> NDArray[np.generic]:
    """The matrices there, as a view."""
    return _at(space, place, shape).view(NUMPY[dtype])


def _at(space: NDArray[np.uint16], place: Matrices, shape: tuple[int, ...]) -> NDArray[np.uint16]:
    begin = (place.address - space.ctypes.data) // 2
    row, column = (1, place.stride) if place.transposed else (place.stride, 1)
    strides = [2 * each for each in (place.outer, place.inner, row, column)]
    return np.lib.stride_tricks.as_strided(space[begin:], shape, strides)


def rounding_bound(
    expected: NDArray[np.float64], size: NDArray[np.float64], k: int, dtype: str
) -> NDArray[np.float64]:
    """One rounding of the result, and sums in float32 of k products of magnitude `size`."""
    return np.abs(expected) * _UNIT[dtype] * 1.01 + size * 2.0**-22 * max(1, k / 256) ** 0.5 + 1e-6
