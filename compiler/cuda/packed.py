"""A plan with machine code of the kernels that it needs on some kinds of GPUs: those run it with nothing but the driver."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sparsec.cuda import nvrtc, program
from sparsec.cuda.absent import absent_gpu
from sparsec.cuda.driver import Device
from sparsec.cuda.executor import Executor
from sparsec.cuda.plan import DevicePlan


@dataclass(frozen=True, slots=True, eq=False)
class DeviceProgram:
    """A plan and machine code, named as `program.key_of` names it.

    Other GPUs than the `gpus` that it was made for need NVRTC for this package's own kernels; the plan's are PTX.
    """

    plan: DevicePlan
    gpus: tuple[str, ...] = ()
    images: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def packed(plan: DevicePlan, gpus: Iterable[str]) -> DeviceProgram:
    """Compile what a plan needs on these GPUs (names of `absent.MODELS`); raises `TargetError` without NVRTC."""
    images: dict[str, bytes] = {}
    names = tuple(dict.fromkeys(gpus))
    for name in names:
        nvrtc.version()
        on = absent_gpu(name)
        Executor(plan, on).close()
        images |= _images(on)
    return DeviceProgram(plan, names, images)


def _images(on: Device) -> dict[str, bytes]:
    """Of all kernels that were asked for."""
    return {
        program.key_of(kernel, dict(macros), on.architecture): program.compiled(kernel, dict(macros), on.architecture)
        for kernel, macros, _ in on.functions
    }
