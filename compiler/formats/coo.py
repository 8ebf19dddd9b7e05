"""Coordinate form: the interchange form of every sparse weight.

Frontends put a weight that its file already stores sparse into this form, and each compute format encodes from it; so
no weight is ever made dense on the way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def as_dense(tensor: NDArray[np.generic] | Coo) -> NDArray[np.generic]:
    """A tensor as an array; a `Coo` is decoded into a new one."""
    return tensor.to_dense() if isinstance(tensor, Coo) else tensor


@dataclass(frozen=True, slots=True)
class Coo:
    """A tensor as its nonzeros: `indices` are int64 row-major positions, strictly rising; `values` has one entry each.

    `indices[i]` is the flat row-major offset of `values[i]` in a dense tensor of shape `shape`. Stored zeros are
    allowed.
    """

    shape: tuple[int, ...]
    indices: NDArray[np.int64]
    values: NDArray[np.generic]

    def __post_init__(self) -> None:
        if self.indices.dtype != np.int64 or self.indices.ndim != 1:
            raise ValueError(f"indices must be int64 [nnz], got {self.indices.dtype} {self.indices.shape}")
        if self.values.shape != self.indices.shape:
            raise ValueError(f"values {self.values.shape} and indices {self.indices.shape} differ in length")
        if len(self.indices):
            if self.indices[0] < 0 or self.indices[-1] >= math.prod(self.shape):
                raise ValueError(f"indices leave the shape {self.shape}")
            if len(self.indices) > 1 and int(np.diff(self.indices).min()) <= 0:
                raise ValueError("indices are not strictly rising")

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return len(self.indices)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type of the values."""
        return self.values.dtype

    @property
    def ndim(self) -> int:
        """Rank of the tensor."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements of the dense tensor."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes held by indices and values."""
        return self.indices.nbytes + self.values.nbytes

    @classmethod
    def from_dense(cls, dense: NDArray[np.generic]) -> Coo:
        """Encode an array of any rank; entries equal to zero (also -0.0) are left out."""
        flat = np.ascontiguousarray(dense).reshape(-1)
        indices = np.flatnonzero(flat).astype(np.int64)
        return cls(tuple(dense.shape), indices, flat[indices])

    @classmethod
    def from_coordinates(
        cls, shape: tuple[int, ...], coordinates: NDArray[np.integer], values: NDArray[np.generic]
    ) -> Coo:
        """Encode from `coordinates` [nnz, rank] in any order.

        Raises `ValueError` when one lies outside `shape` or occurs twice.
        """
        coordinates = np.asarray(coordinates, dtype=np.int64).reshape(len(values), len(shape))
        if len(values) and ((coordinates < 0).any() or (coordinates >= np.asarray(shape, dtype=np.int64)).any()):
            raise ValueError(f"coordinates leave the shape {shape}")
        return cls.from_offsets(shape, coordinates @ _strides(shape), values)

    @classmethod
    def from_offsets(cls, shape: tuple[int, ...], offsets: NDArray[np.int64], values: NDArray[np.generic]) -> Coo:
        """Encode from flat row-major `offsets` [nnz] in any order.

        Raises `ValueError` when one is outside or occurs twice.
        """
        order = np.argsort(offsets, kind="stable")
        return cls(tuple(shape), offsets[order], values[order])

    def coordinates(self) -> NDArray[np.int64]:
        """The positions as [nnz, rank]."""
        if not self.shape or not self.nnz:
            return np.zeros((self.nnz, len(self.shape)), dtype=np.int64)
        return np.stack(np.unravel_index(self.indices, self.shape), axis=1).astype(np.int64)

    def to_dense(self) -> NDArray[np.generic]:
        """Decode to an array of shape `shape`."""
        flat = np.zeros(self.size, dtype=self.values.dtype)
        flat[self.indices] = self.values
        return flat.reshape(self.shape)

    def transpose(self, axes: tuple[int, ...] | None = None) -> Coo:
        """Permute the dimensions as `numpy.transpose` does (reversed when `axes` is None)."""
        axes = tuple(range(self.ndim))[::-1] if axes is None else tuple(axis % self.ndim for axis in axes)
        if sorted(axes) != list(range(self.ndim)):
            raise ValueError(f"axes {axes} do not permute {self.ndim} dimensions")
        shape = tuple(self.shape[axis] for axis in axes)
        return Coo.from_offsets(shape, self.coordinates()[:, list(axes)] @ _strides(shape), self.values)

    def reshape(self, shape: tuple[int, ...]) -> Coo:
        """The same row-major elements under another shape; raises `ValueError` when the sizes differ."""
        if math.prod(shape) != self.size:
            raise ValueError(f"cannot reshape {self.shape} to {shape}")
        return Coo(tuple(shape), self.indices, self.values)

    def astype(self, dtype: np.dtype[np.generic] | type[np.generic]) -> Coo:
        """The same positions with the values converted."""
        return Coo(self.shape, self.indices, self.values.astype(dtype))


def _strides(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Row-major strides of `shape`, in elements."""
    return np.array([math.prod(shape[axis + 1 :]) for axis in range(len(shape))], dtype=np.int64)
