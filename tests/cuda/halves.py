"""Matrices of 16-bit numbers among NaN, for the tests of dense kernels, and how far off a result may be."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.products.dense_operands import Matrices

NUMPY = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
_UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # half of what a rounding changes at most, relative
_NAN = 0x7FFF


def random_halves(generator: np.random.Generator, shape: tuple[int, ...], dtype: str) -> NDArray[np.generic]:
    """Normal numbers."""
    return generator.standard_normal(shape).astype(NUMPY[dtype])


def nan_halves(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """The bits of NaN, the first at a multiple of 16 bytes."""
    count = int(np.prod(shape))
    space = np.full(count + 8, _NAN, dtype=np.uint16)
    begin = -space.ctypes.data % 16 // 2
    return space[begin : begin + count].reshape(shape)


@dataclass(frozen=True, slots=True, eq=False)
class Guarded:
    """Matrices [outer, inner, rows, columns] in memory that is NaN between and around them."""

    space: NDArray[np.uint16]
    place: Matrices
    values: NDArray[np.generic]  # a view of the space

    @classmethod
    def of(cls, values: NDArray[np.generic], stride_of: int, *, transposed: bool = False) -> Guarded:
        """Strides are multiples of `stride_of`, and the first element is at a multiple of 16 bytes where that is 8."""
        outer, inner, rows, columns = values.shape
        lines, length = (columns, rows) if transposed else (rows, columns)
        stride = -(-(length + 3) // stride_of) * stride_of
        each = stride * lines + -(-5 // stride_of) * stride_of
        space = nan_halves((outer * inner * each + 64,))
        begin = 16 + (stride_of != 8)
        place = Matrices(space.ctypes.data + 2 * begin, stride, transposed, inner * each, each)
        strides = [2 * step for step in (inner * each, each, *((1, stride) if transposed else (stride, 1)))]
        inside = np.lib.stride_tricks.as_strided(space[begin:], values.shape, strides)
        inside[...] = values.view(np.uint16)
        return cls(space, place, inside.view(values.dtype))


def rounding_bound(expected: NDArray[np.float64], size: NDArray[np.float64], k: int, dtype: str) -> NDArray[np.float64]:
    """One rounding of the result, and sums in float32 of k products of magnitude `size`."""
    return np.abs(expected) * _UNIT[dtype] * 1.01 + size * 2.0**-22 * max(1, k / 256) ** 0.5 + 1e-6
