"""Memory on a GPU that is given back with what it belongs to."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.device.driver import Buffer, Device

_ALIGNMENT = 256


class Memory:
    """Buffers on a device; they are freed when `owner` is collected, or with `close`."""

    def __init__(self, owner: object, on: Device) -> None:
        self._device = on
        self._buffers: list[Buffer] = []
        self._scratch: dict[str, list[Buffer]] = {}
        self._freed = weakref.finalize(owner, _free, on, self._buffers)
        self._freed.atexit = False

    def upload(self, array: NDArray[np.generic]) -> Buffer:
        """Copy an array into new memory."""
        return self._kept(self._device.upload(array))

    def scratch(self, what: str, nbytes: int) -> Buffer:
        """Memory of zeros at first, the same for a purpose as long as it is large enough; more is made when it is not (so
        not while capturing), and what there was stays, for graphs that use it."""
        found = self._scratch.setdefault(what, [])
        if not found or found[-1].nbytes < nbytes:
            found.append(self._kept(self._device.zeros(1 << max(10, (nbytes - 1).bit_length()))))
        return found[-1]

    def allocate(self, nbytes: int) -> Buffer:
        """New memory of unknown content."""
        return self._kept(self._device.allocate(nbytes))

    def close(self) -> None:
        """Free all; nothing that runs may use it."""
        self._freed()

    @property
    def nbytes(self) -> int:
        """Of all buffers."""
        return sum(buffer.nbytes for buffer in self._buffers)

    def _kept(self, buffer: Buffer) -> Buffer:
        self._buffers.append(buffer)
        return buffer


def _free(on: Device, buffers: list[Buffer]) -> None:
    while buffers:
        on.free(buffers.pop())


class Workspace:
    """Memory for the time of a launch, for launches that are one after another on one stream.

    It grows where more is asked for than before: so what is captured in a graph is launched once before.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._taken = 0

    @contextmanager
    def take(self, nbytes: int) -> Iterator[int]:
        """The address of so many bytes, at a multiple of 256, until this ends."""
        begin, size = self._taken, -(-nbytes // _ALIGNMENT) * _ALIGNMENT
        buffer = self._memory.scratch("workspace", begin + size)
        self._taken += size
        try:
            yield buffer.address + begin
        finally:
            self._taken = begin
