"""Streams and events of a GPU: what is in which order."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_float, c_int, c_void_p

from sparsec.cuda.device.driver import Device

_NOT_BLOCKING = 1  # of a stream, that does not wait for the legacy default stream
_UNTIMED = 2  # of an event
_EXTERNAL = 1  # of recording an event: not only for what is in the same graph


class Stream:
    """A stream of one's own; it is given back with `close`."""

    def __init__(self, on: Device) -> None:
        made = c_void_p()
        on.call("cuStreamCreate", byref(made), _NOT_BLOCKING)
        self._device = on
        self.handle = made.value or 0

    def synchronize(self) -> None:
        """Wait for what is on it, and raise what failed."""
        self._device.call("cuStreamSynchronize", self.handle)

    def close(self) -> None:
        """Give it back."""
        self._device.call("cuStreamDestroy_v2", self.handle)


class Event:
    """A place in a stream's order; `timed` ones know when they were passed. It is given back with `close`."""

    def __init__(self, on: Device, *, timed: bool = False) -> None:
        made = c_void_p()
        on.call("cuEventCreate", byref(made), 0 if timed else _UNTIMED)
        self._device = on
        self._handle = made.value or 0

    def record(self, stream: int) -> None:
        """Be the end of what is on the stream now."""
        self._device.call("cuEventRecord", self._handle, stream)

    def record_in_graph(self, stream: int) -> None:
        """The same in each launch of the graph that the stream is captured for."""
        self._device.call("cuEventRecordWithFlags", self._handle, stream, _EXTERNAL)

    def before(self, stream: int) -> None:
        """Have what is put on the stream from now on wait."""
        self._device.call("cuStreamWaitEvent", stream, self._handle, 0)

    def synchronize(self) -> None:
        """Wait here."""
        self._device.call("cuEventSynchronize", self._handle)

    def nanoseconds_since(self, other: Event) -> int:
        """Of what ran between two timed events that were passed."""
        milliseconds = c_float()
        self._device.call("cuEventElapsedTime", byref(milliseconds), other._handle, self._handle)
        return round(1e6 * milliseconds.value)

    def close(self) -> None:
        """Give it back."""
        self._device.call("cuEventDestroy_v2", self._handle)


def is_capturing(on: Device, stream: int) -> bool:
    """Whether what is put on the stream becomes part of a graph."""
    status = c_int()
    on.call("cuStreamIsCapturing", stream, ctypes.byref(status))
    return status.value != 0
