"""GPUs that are not there: what a plan needs of one is found out without it, by launching its steps on a stand-in.

Every call of the driver succeeds and does nothing; addresses and handles are made up. So the kernels that are asked for
are the ones that a GPU of that kind will be asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from sparsec.cuda.device import driver
from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.library import OLDEST_DRIVER
from sparsec.errors import UsageError

_ALIGNMENT = 256
# Functions whose first argument receives a new handle, in the place of its value.
_MAKE = (
    *("cuDevicePrimaryCtxRetain", "cuModuleLoadDataEx", "cuModuleGetFunction", "cuStreamCreate", "cuEventCreate"),
    "cuGraphInstantiateWithFlags",
)
_ALLOCATE = ("cuMemAlloc_v2", "cuMemAllocAsync")


@dataclass(frozen=True, slots=True)
class Model:
    """A kind of GPU, by its data sheet: shared memory of a block of threads; memory in kHz and bits."""

    name: str
    architecture: tuple[int, int]
    multiprocessors: int
    shared_bytes: int
    memory_kilohertz: int
    memory_bits: int


MODELS: Mapping[str, Model] = {
    "a100": Model("NVIDIA A100", (8, 0), 108, 163 << 10, 1_215_000, 5120),
    "l40s": Model("NVIDIA L40S", (8, 9), 142, 99 << 10, 9_001_000, 384),
    "h100": Model("NVIDIA H100", (9, 0), 132, 227 << 10, 2_619_000, 5120),
    "h200": Model("NVIDIA H200", (9, 0), 132, 227 << 10, 3_201_000, 6144),
}


class Absent:
    """A driver of a GPU that is not there."""

    version, count = OLDEST_DRIVER, 1

    def __init__(self, model: Model) -> None:
        self._attributes = {
            driver.MULTIPROCESSORS: model.multiprocessors,
            driver.MEMORY_KILOHERTZ: model.memory_kilohertz,
            driver.MEMORY_BITS: model.memory_bits,
            driver.MAJOR: model.architecture[0],
            driver.MINOR: model.architecture[1],
            driver.SHARED_BYTES: model.shared_bytes,
        }
        self._next = _ALIGNMENT

    def call(self, function: str, *arguments: object, allowed: Sequence[int] = ()) -> int:
        """Do nothing, but answer what is asked for."""
        if function in _MAKE or function in _ALLOCATE:
            size = cast(int, arguments[1]) if function in _ALLOCATE else 1
            _answer(arguments[0], self._next)
            self._next += -(-size // _ALIGNMENT) * _ALIGNMENT
        elif function == "cuDeviceGetAttribute":
            _answer(arguments[0], self._attributes[cast(int, arguments[1])])
        elif function == "cuStreamEndCapture":
            _answer(arguments[1], self._next)
        return 0


def _answer(reference: object, value: int) -> None:
    """Write to what `byref` made a reference to."""
    reference._obj.value = value  # type: ignore[attr-defined]


def absent_gpu(name: str) -> Device:
    """A stand-in for the GPU of that name; raises `UsageError` if `MODELS` has none."""
    if name not in MODELS:
        raise UsageError("There is no such GPU.", expected=", ".join(MODELS), got=name)
    made = Device(0, Absent(MODELS[name]))
    made.name = MODELS[name].name
    return made
