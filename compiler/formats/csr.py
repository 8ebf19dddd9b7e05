"""Compressed sparse rows: per row, its nonzero values and their columns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.formats.coo import Coo


@dataclass(frozen=True, slots=True)
class Csr:
    """A weight as a matrix [first dimension, the rest], no stored zeros.

    Row r holds `values[pointers[r]:pointers[r + 1]]` in the columns `columns[...]`, which rise strictly and have 16 bits
    where these are enough. Kernels of reduced precision have words in the place of values, and their places for columns.
    """

    shape: tuple[int, ...]
    values: NDArray[np.float32] | NDArray[np.int32]
    columns: NDArray[np.uint16] | NDArray[np.int32]
    pointers: NDArray[np.int32]

    @classmethod
    def encode(cls, weight: NDArray[np.generic] | Coo) -> Csr:
        """Encode a weight of rank >= 1 as float32."""
        coo = weight if isinstance(weight, Coo) else Coo.from_dense(weight)
        values = coo.values.astype(np.float32)
        kept = values != 0
        inside = max(1, math.prod(coo.shape[1:]))
        rows, columns = np.divmod(coo.indices[kept], inside)
        counts = np.bincount(rows, minlength=coo.shape[0])
        pointers = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        narrow = columns.astype(np.uint16) if inside <= 1 << 16 else columns.astype(np.int32)
        return cls(coo.shape, values[kept], narrow, pointers)

    def decode(self) -> NDArray[np.float32]:
        """The dense tensor."""
        flat = np.zeros((self.rows, math.prod(self.shape[1:])), dtype=np.float32)
        flat[np.repeat(np.arange(self.rows), self.counts), self.columns] = self.values
        return flat.reshape(self.shape)

    def at(self, row: int, column: int) -> float:
        """One element of the matrix."""
        begin, end = self.pointers[row : row + 2]
        place = begin + np.searchsorted(self.columns[begin:end], column)
        return float(self.values[place]) if place < end and self.columns[place] == column else 0.0

    @property
    def rows(self) -> int:
        return self.shape[0]

    @property
    def counts(self) -> NDArray[np.int32]:
        """Nonzeros of each row."""
        return np.diff(self.pointers)

    @property
    def members(self) -> NDArray[np.int64]:
        """The row of each run of nonzeros, [rows, 1]."""
        return np.arange(self.rows)[:, None]

    @property
    def nnz(self) -> int:
        return len(self.values)

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.values.nbytes + self.columns.nbytes + self.pointers.nbytes
