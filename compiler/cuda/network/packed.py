"""Plans with what loading them onto some kinds of GPUs needs: machine code of kernels, and weights encoded for these GPUs.

Those run them with nothing but the driver, and begin as soon as the weights are copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sparsec.cuda.code import nvrtc, program
from sparsec.cuda.device.absent import absent_gpu
from sparsec.cuda.device.driver import Device
from sparsec.cuda.network.encoded import EncodedWeights, Key
from sparsec.cuda.network.executor import Executor
from sparsec.cuda.network.network import Network
from sparsec.cuda.network.plan import DevicePlan
from sparsec.cuda.products.form import Encoded

_USUAL = "h100"


@dataclass(frozen=True, slots=True, eq=False)
class DeviceProgram:
    """Plans of a network, one for each of its shapes, and machine code, named as `program.key_of` names it.

    The plans share their weights and constants. Other GPUs than the `gpus` that it was made for need NVRTC for this package's
    own kernels (the plans' are PTX), and weights are encoded for them when they are loaded.
    """

    plans: tuple[DevicePlan, ...]
    gpus: tuple[str, ...] = ()
    images: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    encoded: Mapping[Key, Encoded] = field(default_factory=dict, repr=False)


def to_be_packed(plans: Sequence[DevicePlan], gpus: str) -> DeviceProgram:
    """A program without machine code yet, for GPUs by name (names of `absent.MODELS`, between commas); if there are none, for
    an H100 where there is NVRTC to compile for it. Raises `UsageError` for other names."""
    names = tuple(dict.fromkeys(name.strip() for name in gpus.split(",") if name.strip()))
    for name in names:
        absent_gpu(name)
    return DeviceProgram(tuple(plans), names or ((_USUAL,) if nvrtc.is_there() else ()))


def packed(made: DeviceProgram, weights: EncodedWeights) -> DeviceProgram:
    """The program with machine code and encoded weights, if it has none yet; raises `TargetError` without NVRTC.

    What `weights` has of them is not encoded again; they keep the rest.
    """
    if made.images:
        return made
    gpus, images = [absent_gpu(name) for name in made.gpus], dict[str, bytes]()
    for on in gpus:
        network = Network(made.plans, on, weights)
        for plan in made.plans:
            Executor(plan, network).close()
        network.close()
        images |= _images(on)
    return replace(made, images=images, encoded=weights.of(gpus))


def _images(on: Device) -> dict[str, bytes]:
    """Of all kernels that were asked for."""
    return {
        program.key_of(kernel, dict(macros), on.architecture): program.compiled(kernel, dict(macros), on.architecture)
        for kernel, macros, _ in on.functions
    }
