"""Dense weights as panels: the order in which a dense kernel reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sparsec.formats.coo import Coo, as_dense

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Panels:
    """A weight as a matrix [outputs, k] in panels of `width` outputs; the last is filled up with zeros."""

    shape: tuple[int, ...]
    width: int
    packed: NDArray[np.float32]

    @classmethod
    def encode(cls, weight: NDArray[np.generic] | Coo, width: int = 16) -> Panels:
        """Encode a weight of rank >= 1 as float32."""
        dense = as_dense(weight).astype(np.float32)
        matrix = dense.reshape(dense.shape[0], math.prod(dense.shape[1:]))
        return cls(tuple(dense.shape), width, pack_panels(matrix, _starts(dense.shape[0], width)))

    def decode(self) -> NDArray[np.float32]:
        """The dense tensor."""
        if not self.packed.size:
            return np.zeros(self.shape, dtype=np.float32)
        return unpack_panels(self.packed, self.shape[0], _starts(self.shape[0], self.width)).reshape(self.shape)

    def at(self, row: int, column: int) -> float:
        """One element of the matrix."""
        panel, inside = divmod(row, self.width)
        return float(self.packed[(panel * math.prod(self.shape[1:]) + column) * self.width + inside])

    @property
    def nbytes(self) -> int:
        return self.packed.nbytes


def _starts(outputs: int, width: int) -> list[int]:
    return list(range(0, -(-outputs // width) * width + 1, width))


def pack_panels(matrix: NDArray[Number], starts: Sequence[int] | NDArray[np.integer]) -> NDArray[Number]:
    """Pack `matrix` [outputs, k] as consecutive panels [k][width], panel i holding outputs [starts[i], starts[i + 1]).

    Flat; outputs from len(matrix) up to starts[-1] are zeros.
    """
    outputs, depth = matrix.shape
    packed = np.zeros(starts[-1] * depth, dtype=matrix.dtype)
    for begin, end in pairwise(starts):
        panel = packed[begin * depth : end * depth].reshape(depth, end - begin)
        panel[:, : max(min(end, outputs) - begin, 0)] = matrix[begin:end].T
    return packed


def unpack_panels(
    packed: NDArray[np.float32], outputs: int, starts: Sequence[int] | NDArray[np.integer]
) -> NDArray[np.float32]:
    """The inverse of `pack_panels`: [outputs, k]."""
    depth = packed.size // starts[-1] if starts[-1] else 0
    panels = [packed[begin * depth : end * depth].reshape(depth, end - begin).T for begin, end in pairwise(starts)]
    return np.concatenate([*panels, np.zeros((0, depth), dtype=np.float32)])[:outputs]
