"""Blocks of R rows by C columns: a block with any nonzero is stored whole, so that one position serves R * C weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.formats.coo import Coo


@dataclass(frozen=True, slots=True)
class Blocked:
    """A weight as a matrix [first dimension, the rest] cut into blocks [height, width] from its upper left corner.

    Row of blocks i has the blocks `pointers[i]:pointers[i + 1]`; block j begins at column `columns[j] * width` (rising)
    and is `values[j]`, [width, height]: column after column, as kernels read it. Blocks at the right and lower edge are
    padded with zeros.
    """

    shape: tuple[int, ...]
    block: tuple[int, int]
    values: NDArray[np.float32]
    columns: NDArray[np.int32]
    pointers: NDArray[np.int32]

    @classmethod
    def encode(cls, weight: NDArray[np.generic] | Coo, block: tuple[int, int]) -> Blocked:
        """Encode a weight of rank >= 1 as float32."""
        coo = weight if isinstance(weight, Coo) else Coo.from_dense(weight)
        values = coo.values.astype(np.float32)
        kept = values != 0
        (height, width), inside = block, math.prod(coo.shape[1:])
        rows, columns = np.divmod(coo.indices[kept], max(1, inside))
        across = max(1, -(-inside // width))
        keys, place = np.unique(rows // height * across + columns // width, return_inverse=True)
        filled = np.zeros((len(keys), width, height), dtype=np.float32)
        filled[place, columns % width, rows % height] = values[kept]
        counts = np.bincount(keys // across, minlength=-(-coo.shape[0] // height))
        pointers = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        return cls(coo.shape, block, filled, (keys % across).astype(np.int32), pointers)

    def decode(self) -> NDArray[np.float32]:
        """The dense tensor."""
        (height, width), inside = self.block, math.prod(self.shape[1:])
        down, across = len(self.counts), -(-inside // width)
        grid = np.zeros((down, across, width, height), dtype=np.float32)
        grid[np.repeat(np.arange(down), self.counts), self.columns] = self.values
        matrix = grid.transpose(0, 3, 1, 2).reshape(down * height, across * width)
        return matrix[: self.shape[0], :inside].reshape(self.shape)

    def at(self, row: int, column: int) -> float:
        """One element of the matrix."""
        height, width = self.block
        begin, end = self.pointers[row // height : row // height + 2]
        place = begin + np.searchsorted(self.columns[begin:end], column // width)
        if place == end or self.columns[place] != column // width:
            return 0.0
        return float(self.values[place, column % width, row % height])

    @property
    def rows(self) -> int:
        return self.shape[0]

    @property
    def blocks(self) -> int:
        return len(self.columns)

    @property
    def counts(self) -> NDArray[np.int32]:
        """Blocks of each row of blocks."""
        return np.diff(self.pointers)

    @property
    def fill(self) -> float:
        """Share of the stored values that are nonzero; 1 if none is stored."""
        return np.count_nonzero(self.values) / self.values.size if self.values.size else 1.0

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.values.nbytes + self.columns.nbytes + self.pointers.nbytes
