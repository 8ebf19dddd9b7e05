"""Streams whose steps have as many bytes as they need, and offsets that say where each begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.streams.steps import Steps


@dataclass(frozen=True, slots=True)
class UnevenSteps(Steps):
    """A matrix [m, k] in such a stream of `units`.

    `offsets[i]` is where the units of batch i of steps begin: those of a worker's first warp, in order, then those of its second,
    and so on.
    """

    offsets: NDArray[np.uint32]
    units: NDArray[np.unsignedinteger]

    @property
    def nbytes(self) -> int:
        """Bytes that a product reads."""
        return self.units.nbytes + self.offsets.nbytes
