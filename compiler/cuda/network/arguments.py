"""Tensors on a GPU as the inputs and outputs of a plan: checked, and where they lie."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from sparsec.artifact import TensorSpec
from sparsec.cuda.device import tensors
from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.tensors import View, speaks_dlpack
from sparsec.errors import InputError

ALIGNMENT = 16  # bytes, of which kernels read and write so many at a time
_CUDA = 2  # a kind of device in DLPack


def is_on_gpu(value: object) -> bool:
    """Whether this is a tensor on an NVIDIA GPU."""
    return speaks_dlpack(value) and int(value.__dlpack_device__()[0]) == _CUDA


def gpu_of(values: Sequence[object]) -> int:
    """The number of the GPU that all those of these tensors are on that are on one; raises `InputError`."""
    numbers = {value.__dlpack_device__()[1] for value in values if speaks_dlpack(value) and is_on_gpu(value)}
    if len(numbers) != 1:
        raise InputError(
            "The tensors are on several GPUs, or there are none.", got=", ".join(map(str, sorted(numbers)))
        )
    return int(numbers.pop())


def read_in_place(value: object, spec: TensorSpec) -> object:
    """The tensor itself or, if it has gaps or begins at an odd place and is torch's, a copy on torch's current stream."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor) or value.shape != spec.shape:
        return value
    whole = value.contiguous()
    return whole.clone() if whole.data_ptr() % ALIGNMENT else whole


def address(value: object, spec: TensorSpec, what: str, on: Device) -> int:
    """Where a tensor without gaps begins; raises `InputError` unless it is what `spec` says, on that GPU."""
    name = f"The {what} {spec.name!r}"
    found = tensors.view(value, name)
    if (found.dtype, found.shape, found.device) != (spec.dtype, spec.shape, on.index):
        raise InputError(
            f"{name} has the wrong dtype, shape or device.",
            expected=f"{spec} on GPU {on.index}",
            got=f"{found.dtype}[{', '.join(map(str, found.shape))}] on GPU {found.device}",
        )
    if not _is_whole(found) or (found.address % ALIGNMENT and math.prod(spec.shape)):
        raise InputError(
            f"{name} cannot be used where it is.",
            expected=f"row-major without gaps, at a multiple of {ALIGNMENT} bytes",
            got=f"strides {list(found.strides)} at {found.address:#x}",
        )
    return found.address


def check_apart(places: Sequence[tuple[int, TensorSpec]], others: Sequence[tuple[int, TensorSpec]]) -> None:
    """Raise `InputError` if one of the outputs at `places` shares memory with another, or with an input in `others`."""
    for index, (begin, spec) in enumerate(places):
        for other, its in (*places[:index], *others):
            if begin < other + its.nbytes and other < begin + spec.nbytes:
                raise InputError(f"The output {spec.name!r} shares memory with {its.name!r}.")


def empty_like_torch(specs: Sequence[TensorSpec], values: Sequence[object], on: Device) -> list[object]:
    """New tensors of torch on a GPU, for the results of a call with tensors of torch; raises `InputError` for others."""
    torch = sys.modules.get("torch")
    if torch is None or not any(isinstance(value, torch.Tensor) for value in values):
        raise InputError("There is nowhere to put the outputs.", next_step="call `launch` with out=, a tensor for each")
    where = torch.device("cuda", on.index)
    return [torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device=where) for spec in specs]


def _is_whole(view: View) -> bool:
    size = 1
    for length, stride in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if length > 1 and stride != size:
            return math.prod(view.shape) == 0
        size *= length
    return True
