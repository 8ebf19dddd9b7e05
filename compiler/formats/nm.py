"""N:M sparsity: of each M consecutive columns of a row at most N are nonzero, so every row has the same length (2:4: Mishra et
al., "Accelerating Sparse Deep Neural Networks", 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.formats.coo import Coo


@dataclass(frozen=True, slots=True)
class NofM:
    """A weight as a matrix [rows, columns] whose columns form groups of `of` (the last may be shorter).

    `values` is [rows, groups, kept]; value i of group g is in column `g * of + positions[..., i]`. Groups with fewer
    nonzeros end in zeros.
    """

    shape: tuple[int, ...]
    of: int
    values: NDArray[np.float32]
    positions: NDArray[np.uint8]

    @classmethod
    def encode(cls, weight: NDArray[np.generic] | Coo, kept: int | None, of: int) -> NofM:
        """Encode a weight of rank >= 1 as float32; `kept` None is as many as the fullest group has, but at least one.

        Raises `ValueError` if a group has more than `kept` nonzeros.
        """
        if not 1 <= (kept or 1) <= of <= 256:
            raise ValueError(f"{kept}:{of} is no n:m with 1 <= n <= m <= 256")
        coo = weight if isinstance(weight, Coo) else Coo.from_dense(weight)
        values = coo.values.astype(np.float32)
        stored = values != 0
        rows, columns = np.divmod(coo.indices[stored], max(1, math.prod(coo.shape[1:])))
        groups = -(-math.prod(coo.shape[1:]) // of)
        place = rows * groups + columns // of  # rising
        rank = np.arange(len(place)) - np.searchsorted(place, place)
        most = int(rank.max(initial=0)) + 1
        if kept is not None and most > kept:
            worst = int(rank.argmax())
            raise ValueError(f"row {rows[worst]} has more than {kept} nonzeros in a group of {of} columns")
        packed = np.zeros((coo.shape[0] * groups, kept or most), dtype=np.float32)
        positions = np.zeros(packed.shape, dtype=np.uint8)
        packed[place, rank] = values[stored]
        positions[place, rank] = columns % of
        shape = (coo.shape[0], groups, kept or most)
        return cls(coo.shape, of, packed.reshape(shape), positions.reshape(shape))

    def decode(self) -> NDArray[np.float32]:
        """The dense tensor."""
        rows, groups, _ = self.values.shape
        padded = np.zeros((rows, groups, self.of), dtype=np.float32)
        row, group, rank = np.nonzero(self.values)
        padded[row, group, self.positions[row, group, rank]] = self.values[row, group, rank]
        return padded.reshape(rows, groups * self.of)[:, : self.columns].reshape(self.shape)

    def at(self, row: int, column: int) -> float:
        """One element of the matrix."""
        group, position = divmod(column, self.of)
        found = self.positions[row, group] == position
        return float(self.values[row, group][found].sum())

    @property
    def columns(self) -> int:
        """Columns of the matrix."""
        return math.prod(self.shape[1:])

    @property
    def kept(self) -> int:
        """The n of n:m."""
        return int(self.values.shape[2])

    @property
    def nbytes(self) -> int:
        """Bytes of the two arrays."""
        return self.values.nbytes + self.positions.nbytes
