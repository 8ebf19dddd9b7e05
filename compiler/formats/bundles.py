"""Bundles of rows: the columns in which some rows have their nonzeros in common."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Bundles:
    """Part of a weight as a matrix [first dimension, the rest].

    Bundle i has the rows `members[i]` and the columns `columns[pointers[i]:pointers[i + 1]]`, which rise; `values` is
    [columns, height]: for each column the weights of the bundle's rows, or words of them. Bundles do not overlap.
    """

    shape: tuple[int, ...]
    members: NDArray[np.int64]
    pointers: NDArray[np.int32]
    columns: NDArray[np.int32]
    values: NDArray[np.float32] | NDArray[np.int32]

    def decode(self) -> NDArray[np.float32]:
        """The dense tensor."""
        flat = np.zeros((self.shape[0], math.prod(self.shape[1:])), dtype=np.float32)
        flat[np.repeat(self.members, self.counts, axis=0), self.columns[:, None]] = self.values
        return flat.reshape(self.shape)

    def at(self, row: int, column: int) -> float:
        """One element of the matrix."""
        here = self.columns == column
        owners = self.members[np.repeat(np.arange(len(self.members)), self.counts)[here]]
        return float(self.values[here][owners == row].sum())

    @property
    def height(self) -> int:
        """Rows of a bundle."""
        return int(self.members.shape[1])

    @property
    def counts(self) -> NDArray[np.int32]:
        """Columns of each bundle."""
        return np.diff(self.pointers)

    @property
    def nbytes(self) -> int:
        """Bytes of the four arrays."""
        return self.members.nbytes + self.pointers.nbytes + self.columns.nbytes + self.values.nbytes
