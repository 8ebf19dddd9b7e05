"""Arrays behind each other in one member of a file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact.fields import JsonValue, as_int, as_list

_ALIGNMENT = 64


class Blob:
    """Arrays one after another, each at a multiple of 64 bytes; what is added again is where it was."""

    def __init__(self) -> None:
        self._parts: list[memoryview] = []
        self._places: dict[tuple[int, int], int] = {}  # of what was added, by address and size in memory
        self._size = 0

    def add(self, array: NDArray[np.generic]) -> list[JsonValue]:
        """Where it is and how many bytes it has."""
        part = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        key = part.ctypes.data, part.nbytes
        if key not in self._places:
            self._places[key] = self._size
            gap = -part.nbytes % _ALIGNMENT
            self._parts += [part.data, memoryview(bytes(gap))]
            self._size += part.nbytes + gap
        return [self._places[key], part.nbytes]

    @property
    def parts(self) -> list[memoryview]:
        """All of them, with what is between them."""
        return self._parts


def part(blob: NDArray[np.uint8], place: JsonValue) -> NDArray[np.uint8]:
    """The bytes at a place that `add` told; raises `ValueError` or `TypeError` for what is none."""
    begin, size = map(as_int, as_list(place))
    if not 0 <= begin <= begin + size <= blob.nbytes:
        raise ValueError(f"{place} is outside its member")
    return blob[begin : begin + size]
