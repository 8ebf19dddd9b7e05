"""What is launched on a stream as CUDA graphs: recorded once for a set of addresses, then launched as a whole."""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Callable
from ctypes import byref, c_int, c_void_p
from typing import TypeAlias

from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.order import Stream

Key: TypeAlias = tuple[int, ...]

MOST = 8  # graphs that are kept
_OF_THIS_THREAD = 1  # what a capture forbids
_ANY = range(1, 1000)  # results of the driver
_NOT_UPDATED = 910  # the driver's result, if graphs differ in more than what their nodes are told


class _UpdateResult(ctypes.Structure):
    _fields_ = (("result", c_int), ("node", c_void_p), ("from_node", c_void_p))


class Graphs:
    """Graphs of one sequence of launches, one for each of the `MOST` sets of addresses that were used last.

    For further sets, the graph that was used longest ago is changed in place, which the driver does in less time than it
    makes a graph; launches of it that have not run yet stay as they were.
    """

    def __init__(self, on: Device) -> None:
        self._device = on
        self._stream = Stream(on)
        self._executables: OrderedDict[Key, int] = OrderedDict()

    def launch(self, key: Key, launches: Callable[[int], None], stream: int) -> None:
        """Put on a stream what `launches` puts on the stream that it is given, the same for the same key."""
        found = self._executables.get(key)
        if found is None:
            found = self._recorded(launches)
            self._executables[key] = found
        else:
            self._executables.move_to_end(key)
        self._device.call("cuGraphLaunch", found, stream)

    def close(self) -> None:
        """Give all back; none may be running."""
        while self._executables:
            self._device.call("cuGraphExecDestroy", self._executables.popitem()[1])
        self._stream.close()

    def _recorded(self, launches: Callable[[int], None]) -> int:
        graph = self._captured(launches)
        try:
            old = self._executables.popitem(last=False)[1] if len(self._executables) >= MOST else None
            return self._instantiated(graph) if old is None else self._updated(old, graph)
        finally:
            self._device.call("cuGraphDestroy", graph)

    def _captured(self, launches: Callable[[int], None]) -> int:
        stream, graph = self._stream.handle, c_void_p()
        self._device.call("cuStreamBeginCapture_v2", stream, _OF_THIS_THREAD)
        try:
            launches(stream)
        except BaseException:
            self._device.call("cuStreamEndCapture", stream, byref(graph), allowed=_ANY)
            raise
        self._device.call("cuStreamEndCapture", stream, byref(graph))
        return graph.value or 0

    def _instantiated(self, graph: int) -> int:
        made = c_void_p()
        self._device.call("cuGraphInstantiateWithFlags", byref(made), graph, 0)
        return made.value or 0

    def _updated(self, executable: int, graph: int) -> int:
        """The executable, changed, or a new one."""
        result = _UpdateResult()
        if not self._device.call("cuGraphExecUpdate_v2", executable, graph, byref(result), allowed=(_NOT_UPDATED,)):
            return executable
        self._device.call("cuGraphExecDestroy", executable)
        return self._instantiated(graph)
