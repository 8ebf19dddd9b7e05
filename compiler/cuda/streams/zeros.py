"""What there is to know of a matrix's zeros before it is encoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNIT, SQUARE = 32, 64  # rows and columns of what kernels for blocks multiply by


@dataclass(frozen=True, slots=True)
class Zeros:
    """Of a matrix [m, k], what predictions look at: elements that are not zero, whether at most two of each four neighbouring
    columns are, and how many `units` of 32 x 32 and `squares` of 64 x 64 are not nothing but zeros."""

    m: int
    k: int
    nonzeros: int
    two_of_four: bool
    units: int
    squares: int

    @classmethod
    def of(cls, bits: NDArray[np.uint16]) -> Zeros:
        """Of a matrix of 16-bit floating-point numbers, given as their bits."""
        m, k = bits.shape
        kept = np.zeros((-(-m // SQUARE) * SQUARE, -(-k // SQUARE) * SQUARE), dtype=bool)
        np.not_equal(bits << 1, 0, out=kept[:m, :k])
        fours = kept.view(np.uint32)  # of a byte each
        units = fours.reshape(len(kept) // UNIT, UNIT, -1, UNIT // 4).any(axis=(1, 3))
        squares = units.reshape(len(kept) // SQUARE, 2, -1, 2).any(axis=(1, 3))
        two_of_four = bool(np.bitwise_count(fours).max() <= 2)
        return cls(m, k, int(np.count_nonzero(kept)), two_of_four, int(units.sum()), int(squares.sum()))

    @property
    def share(self) -> float:
        """Of zeros among the elements."""
        return 1 - self.nonzeros / (self.m * self.k)
