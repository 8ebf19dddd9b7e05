"""Runs of a plan on a host's arrays: copied in and out through memory that the GPU reads and writes by itself."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact import TensorSpec
from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.memory import Memory
from sparsec.cuda.device.order import Stream
from sparsec.cuda.network.executor import Executor


class Staging:
    """Places for the inputs and outputs of an executor, on its GPU and beside it; for one run at a time."""

    def __init__(self, executor: Executor) -> None:
        on = executor.device
        self._executor = executor
        memory = Memory(self, on)
        with ExitStack() as kept:
            kept.callback(memory.close)
            self._inputs, self._outputs = (
                [_Place(spec, on, memory, kept) for spec in specs]
                for specs in (executor.plan.inputs, executor.plan.outputs)
            )
            self._stream = Stream(on)
            kept.callback(self._stream.close)
            weakref.finalize(self, kept.pop_all().close).atexit = False

    @property
    def addresses(self) -> tuple[list[int], list[int]]:
        """Of inputs and of outputs, on the GPU."""
        return [place.address for place in self._inputs], [place.address for place in self._outputs]

    def give(self, arrays: Sequence[NDArray[np.generic]]) -> None:
        """Copy inputs to the GPU; they have the plan's dtypes and shapes, and no gaps."""
        for place, array in zip(self._inputs, arrays, strict=True):
            place.host[:] = array.reshape(-1).view(np.uint8)
            place.copy_in(self._stream.handle)

    def run(self) -> None:
        """Run on what was given, and wait for it."""
        self._executor.run(*self.addresses, self._stream.handle)
        self._stream.synchronize()

    def take(self, arrays: Sequence[NDArray[np.generic]]) -> None:
        """Copy outputs into arrays of the plan's dtypes and shapes without gaps."""
        for place in self._outputs:
            place.copy_out(self._stream.handle)
        self._stream.synchronize()
        for place, array in zip(self._outputs, arrays, strict=True):
            array.reshape(-1).view(np.uint8)[:] = place.host


class _Place:
    """A tensor's memory on the GPU, and as much of the host's that is not paged."""

    def __init__(self, spec: TensorSpec, on: Device, memory: Memory, kept: ExitStack) -> None:
        self._device = on
        self.address = memory.allocate(spec.nbytes).address
        pinned = on.pinned(spec.nbytes)
        kept.callback(on.free_pinned, pinned)
        self.host = pinned[: spec.nbytes]

    def copy_in(self, stream: int) -> None:
        self._device.call("cuMemcpyHtoDAsync_v2", self.address, self.host.ctypes.data, self.host.nbytes, stream)

    def copy_out(self, stream: int) -> None:
        self._device.call("cuMemcpyDtoHAsync_v2", self.host.ctypes.data, self.address, self.host.nbytes, stream)
