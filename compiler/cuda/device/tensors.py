"""Tensors of other libraries on a GPU, through DLPack: their address, type and shape, without a copy."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeGuard

from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.memory import Workspace
from sparsec.errors import InputError

FLOAT16, BFLOAT16, FLOAT32, FLOAT8, INT8 = "float16", "bfloat16", "float32", "float8_e4m3fn", "int8"
_NAMES = {
    **{(0, bits): f"int{bits}" for bits in (8, 16, 32, 64)},
    **{(1, bits): f"uint{bits}" for bits in (8, 16, 32, 64)},
    (2, 16): FLOAT16,
    (2, 32): FLOAT32,
    (2, 64): "float64",
    (4, 16): BFLOAT16,
    (6, 8): "bool",
    (10, 8): FLOAT8,
}
_CUDA = 2
_NO_SYNCHRONISATION = -1


class DlpackTensor(Protocol):
    """What torch, CuPy and JAX arrays are."""

    def __dlpack__(self, *, stream: int | None = None) -> object: ...

    def __dlpack_device__(self) -> tuple[int, int]: ...


def speaks_dlpack(value: object) -> TypeGuard[DlpackTensor]:
    """Whether this is such a tensor; `isinstance` would take as long as a launch."""
    return hasattr(value, "__dlpack_device__") and hasattr(value, "__dlpack__")


class DlTensor(ctypes.Structure):
    """DLPack's own."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


@dataclass(frozen=True, slots=True)
class View:
    """A tensor on a device; strides in elements. It does not keep the memory alive."""

    address: int
    device: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def capsule_tensor(capsule: object) -> DlTensor:
    """What a DLPack capsule holds, as long as it is there."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return DlTensor.from_address(get(capsule, b"dltensor"))


def view(tensor: object, what: str) -> View:
    """Look at a tensor in the order of its own library's current stream; raises `InputError`."""
    if not speaks_dlpack(tensor):
        raise InputError(f"{what} is not a tensor.", expected="a DLPack tensor on a GPU", got=type(tensor).__name__)
    kind, _ = tensor.__dlpack_device__()
    if int(kind) != _CUDA:
        raise InputError(f"{what} is not on an NVIDIA GPU.", got=f"DLPack device type {int(kind)}")
    try:
        capsule = tensor.__dlpack__(stream=_NO_SYNCHRONISATION)
    except BufferError as error:  # how libraries refuse, torch for tensors that need gradients
        raise InputError(f"{what} cannot be read where it is.", got=str(error)) from error
    found = capsule_tensor(capsule)
    dtype = _NAMES.get((found.code, found.bits)) if found.lanes == 1 else None
    if dtype is None:
        got = f"DLPack type code {found.code} of {found.bits} bits"
        raise InputError(f"{what} has a type that is not supported.", expected=", ".join(_NAMES.values()), got=got)
    shape = tuple(found.shape[: found.ndim])
    strides = tuple(found.strides[: found.ndim]) if found.strides else _row_major(shape)
    return View((found.data or 0) + found.byte_offset, found.device_id, dtype, shape, strides)


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides: list[int] = []
    size = 1
    for length in reversed(shape):
        strides.insert(0, size)
        size *= length
    return tuple(strides)


@contextmanager
def scratch(tensor: object, on: Device, nbytes: int, stream: int) -> Iterator[int]:
    """The address of memory for what is launched within: a workspace's own, if there is one in the place of a tensor; torch's
    for torch tensors on torch's current stream, in whose order torch gives it away again; else in the stream's order. All can
    be captured in a CUDA graph."""
    torch = sys.modules.get("torch")
    if not nbytes:
        yield 0
    elif isinstance(tensor, Workspace):
        with tensor.take(nbytes) as address:
            yield address
    elif torch is not None and isinstance(tensor, torch.Tensor) and stream == current_stream(tensor, on.index):
        made = torch.empty(nbytes, dtype=torch.uint8, device=tensor.device)
        yield int(made.data_ptr())
    else:
        buffer = on.allocate_in_order(nbytes, stream)
        try:
            yield buffer.address
        finally:
            on.free_in_order(buffer, stream)


def current_stream(tensor: object, device: int) -> int:
    """torch's current stream for a torch tensor, else the legacy default stream."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(tensor, torch.Tensor):
        return int(torch.cuda.current_stream(device).cuda_stream)
    return 0
