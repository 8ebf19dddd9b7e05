"""A GPU that is not there and writes down what is asked of it: calls in order, memory that is not given back."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import cast

from sparsec.cuda.device.absent import MODELS, Absent
from sparsec.cuda.device.driver import Device

_MADE = {
    "cuMemAlloc_v2": "cuMemFree_v2",
    "cuMemHostAlloc": "cuMemFreeHost",
    "cuStreamCreate": "cuStreamDestroy_v2",
    "cuEventCreate": "cuEventDestroy_v2",
    "cuGraphInstantiateWithFlags": "cuGraphExecDestroy",
}
_WITHOUT_NEWS = ("cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2")


class Recorder(Absent):
    """A driver that keeps names of functions in `calls`, and things that were made and not given back in `alive`.

    Memory of the host is real. Beyond `limit` bytes there is no memory on the GPU.
    """

    def __init__(self, model: str = "h100", limit: int = 1 << 62) -> None:
        super().__init__(MODELS[model])
        self.calls: list[str] = []
        self.alive: dict[tuple[str, int], int] = {}
        self.results: dict[str, int] = {}
        self._limit = limit
        self._host: dict[int, ctypes.Array[ctypes.c_char]] = {}

    @property
    def device_bytes(self) -> int:
        """Memory of the GPU that is not given back."""
        return sum(size for (kind, _), size in self.alive.items() if kind == "cuMemFree_v2")

    def call(self, function: str, *arguments: object, allowed: Sequence[int] = ()) -> int:
        if function not in _WITHOUT_NEWS:
            self.calls.append(function)
        if function in self.results and self.results[function] in allowed:
            return self.results[function]
        size = cast(int, arguments[1]) if function in ("cuMemAlloc_v2", "cuMemHostAlloc") else 0
        if function == "cuMemAlloc_v2" and self.device_bytes + size > self._limit:
            return 2
        if function == "cuMemHostAlloc":
            memory = ctypes.create_string_buffer(size)
            self._host[ctypes.addressof(memory)] = memory
            arguments[0]._obj.value = ctypes.addressof(memory)  # type: ignore[attr-defined]
        else:
            super().call(function, *arguments, allowed=allowed)
        if function in _MADE:
            self.alive[_MADE[function], arguments[0]._obj.value] = size  # type: ignore[attr-defined]
        elif function in _MADE.values():
            del self.alive[function, cast(int, arguments[0])]
        return 0


def recording_gpu(recorder: Recorder) -> Device:
    """A device of this driver."""
    return Device(0, recorder)
