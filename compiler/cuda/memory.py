"""Memory on a GPU that is given back with what it belongs to."""

from __future__ import annotations

import weakref

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.driver import Buffer, Device


class Memory:
    """Buffers on a device; they are freed when `owner` is collected."""

    def __init__(self, owner: object, on: Device) -> None:
        self._device = on
        self._buffers: list[Buffer] = []
        self._scratch: dict[str, list[Buffer]] = {}
        weakref.finalize(owner, _free, on, self._buffers).atexit = False

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

    def _kept(self, buffer: Buffer) -> Buffer:
        self._buffers.append(buffer)
        return buffer


def _free(on: Device, buffers: list[Buffer]) -> None:
    for buffer in buffers:
        on.free(buffer)
