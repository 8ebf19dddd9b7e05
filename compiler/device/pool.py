"""What plans of one network for several shapes have in common."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparsec.assemble import WeightPool
from sparsec.cuda.network.plan import DeviceWeight, Half


class DevicePool:
    """Constants, and weights of products, that plans for several shapes have in common; equal ones are kept once."""

    def __init__(self) -> None:
        self.constants = WeightPool()
        self._weights: list[DeviceWeight] = []
        self._arrays: dict[tuple[bytes, tuple[int, ...]], DeviceWeight] = {}
        self._known: dict[tuple[bytes, tuple[int, ...], str | None], int] = {}

    @property
    def weights(self) -> tuple[DeviceWeight, ...]:
        """In the order of their numbers."""
        return tuple(self._weights)

    def weight(self, name: str, bits: NDArray[np.uint16], dtype: Half, pattern: str | None) -> int:
        """The number of a weight that is multiplied by as `pattern` says, added if there is none like it.

        One that is multiplied by in several ways has several numbers, and the same arrays.
        """
        array = hashlib.blake2b(np.ascontiguousarray(bits).data, digest_size=16).digest(), bits.shape
        key = *array, pattern
        if key not in self._known:
            if array not in self._arrays:
                self._arrays[array] = DeviceWeight.of(name, bits, dtype, pattern)
            self._known[key] = len(self._weights)
            self._weights.append(replace(self._arrays[array], pattern=pattern))
        return self._known[key]
