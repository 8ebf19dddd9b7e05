"""A bit per element and the nonzero values behind each other: smaller than CSR above 3 % density, read in order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.formats.coo import Coo

WORD = 16  # columns of one mask


@dataclass(frozen=True, slots=True)
class Bitmap:
    """A weight as a matrix [first dimension, the rest].

    `masks` is [rows, words]: bit i of word w says that column 16 * w + i is nonzero. Row r holds
    `values[pointers[r]:pointers[r + 1]]`, in the order of its bits.
    """

    shape: tuple[int, ...]
    masks: NDArray[np.uint16]
    values: NDArray[np.float32]
    pointers: NDArray[np.int32]

    @classmethod
    def encode(cls, weight: NDArray[np.generic] | Coo) -> Bitmap:
        """Encode a weight of rank >= 1 as float32."""
        coo = weight if isinstance(weight, Coo) else Coo.from_dense(weight)
        values = coo.values.astype(np.float32)
        kept = values != 0
        inside = math.prod(coo.shape[1:])
        rows, columns = np.divmod(coo.indices[kept], max(1, inside))
        masks = np.zeros((coo.shape[0], -(-inside // WORD)), dtype=np.uint16)
        np.bitwise_or.at(masks, (rows, columns // WORD), np.left_shift(1, columns % WORD).astype(np.uint16))
        counts = np.bincount(rows, minlength=coo.shape[0])
        return cls(coo.shape, masks, values[kept], np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))

    def decode(self) -> NDArray[np.float32]:
        """The dense tensor."""
        inside = math.prod(self.shape[1:])
        bits = (self.masks[:, :, None] >> np.arange(WORD, dtype=np.uint16)) & 1
        padded = np.zeros(bits.shape, dtype=np.float32)
        padded[bits.astype(bool)] = self.values
        return (
            padded.reshape(len(self.masks), -1)[:, :inside].reshape(self.shape)
            if self.masks.size
            else (np.zeros(self.shape, dtype=np.float32))
        )

    def at(self, row: int, column: int) -> float:
        """One element of the matrix."""
        word, bit = divmod(column, WORD)
        if not self.masks[row, word] >> bit & 1:
            return 0.0
        before = int(np.bitwise_count(self.masks[row, :word]).sum())
        before += (int(self.masks[row, word]) & ((1 << bit) - 1)).bit_count()
        return float(self.values[self.pointers[row] + before])

    @property
    def rows(self) -> int:
        return self.shape[0]

    @property
    def nnz(self) -> int:
        return len(self.values)

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.masks.nbytes + self.values.nbytes + self.pointers.nbytes
