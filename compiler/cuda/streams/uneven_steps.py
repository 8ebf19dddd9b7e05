"""Streams whose steps have as many bytes as they need, and offsets that say where each begins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.streams.partition import Partition


@dataclass(frozen=True, slots=True)
class UnevenSteps(ABC):
    """A matrix [m, k] in such a stream of `units`.

    `offsets[i]` is where the units of batch i of steps begin: those of a worker's first warp, in order, then those of its second,
    and so on.
    """

    m: int
    k: int
    partition: Partition
    offsets: NDArray[np.uint32]
    units: NDArray[np.unsignedinteger]

    @property
    @abstractmethod
    def columns(self) -> int:
        """Of a warp in a step."""

    @property
    def step(self) -> int:
        """Columns of a step, of all warps."""
        return self.columns * self.partition.halves

    @property
    def steps(self) -> int:
        """Of a row block."""
        return -(-self.k // self.step)

    @property
    def nbytes(self) -> int:
        """Bytes that a product reads."""
        return self.units.nbytes + self.offsets.nbytes
