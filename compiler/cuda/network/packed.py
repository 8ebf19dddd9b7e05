"""A plan with machine code of the kernels that it needs on some kinds of GPUs: those run it with nothing but the driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sparsec.cuda.code import nvrtc, program
from sparsec.cuda.device.absent import absent_gpu
from sparsec.cuda.device.driver import Device
from sparsec.cuda.network.executor import Executor
from sparsec.cuda.network.plan import DevicePlan

_USUAL = "h100"


@dataclass(frozen=True, slots=True, eq=False)
class DeviceProgram:
    """A plan and machine code, named as `program.key_of` names it.

    Other GPUs than the `gpus` that it was made for need NVRTC for this package's own kernels; the plan's are PTX.
    """

    plan: DevicePlan
    gpus: tuple[str, ...] = ()
    images: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def to_be_packed(plan: DevicePlan, gpus: str) -> DeviceProgram:
    """A program without machine code yet, for GPUs by name (names of `absent.MODELS`, between commas); if there are none, for
    an H100 where there is NVRTC to compile for it. Raises `UsageError` for other names."""
    names = tuple(dict.fromkeys(name.strip() for name in gpus.split(",") if name.strip()))
    for name in names:
        absent_gpu(name)
    return DeviceProgram(plan, names or ((_USUAL,) if nvrtc.is_there() else ()))


def packed(made: DeviceProgram) -> DeviceProgram:
    """The program with machine code, if it has none yet; raises `TargetError` without NVRTC."""
    images = dict(made.images)
    for name in () if images else made.gpus:
        on = absent_gpu(name)
        Executor(made.plan, on).close()
        images |= _images(on)
    return replace(made, images=images)


def _images(on: Device) -> dict[str, bytes]:
    """Of all kernels that were asked for."""
    return {
        program.key_of(kernel, dict(macros), on.architecture): program.compiled(kernel, dict(macros), on.architecture)
        for kernel, macros, _ in on.functions
    }
