"""NVIDIA's driver as a library, by ctypes: every result checked. Nothing else is needed to run."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Protocol

from sparsec.errors import TargetError

OLDEST_DRIVER = 12000

_ARGUMENTS: dict[str, tuple[object, ...]] = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (c_void_p,),
    "cuDeviceGetCount": (c_void_p,),
    "cuDeviceGet": (c_void_p, c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (c_void_p, c_int, c_int),
    "cuDevicePrimaryCtxRetain": (c_void_p, c_int),
    "cuCtxPushCurrent_v2": (c_void_p,),
    "cuCtxPopCurrent_v2": (c_void_p,),
    "cuCtxSynchronize": (),
    "cuModuleLoadDataEx": (c_void_p, c_char_p, c_uint, c_void_p, c_void_p),
    "cuModuleUnload": (c_void_p,),
    "cuModuleGetFunction": (c_void_p, c_void_p, c_char_p),
    "cuFuncSetAttribute": (c_void_p, c_int, c_int),
    "cuLaunchKernelEx": (c_void_p, c_void_p, c_void_p, c_void_p),
    "cuMemGetInfo_v2": (c_void_p, c_void_p),
    "cuMemAlloc_v2": (c_void_p, c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemAllocAsync": (c_void_p, c_size_t, c_void_p),
    "cuMemFreeAsync": (c_uint64, c_void_p),
    "cuMemcpyHtoD_v2": (c_uint64, c_void_p, c_size_t),
    "cuMemcpyDtoH_v2": (c_void_p, c_uint64, c_size_t),
    "cuMemcpyHtoDAsync_v2": (c_uint64, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_uint64, c_size_t, c_void_p),
    "cuMemsetD8_v2": (c_uint64, ctypes.c_ubyte, c_size_t),
    "cuMemsetD8Async": (c_uint64, ctypes.c_ubyte, c_size_t, c_void_p),
    "cuMemHostAlloc": (c_void_p, c_size_t, c_uint),
    "cuMemFreeHost": (c_void_p,),
    "cuStreamCreate": (c_void_p, c_uint),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamWaitEvent": (c_void_p, c_void_p, c_uint),
    "cuStreamIsCapturing": (c_void_p, c_void_p),
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, c_void_p),
    "cuEventCreate": (c_void_p, c_uint),
    "cuEventDestroy_v2": (c_void_p,),
    "cuEventRecord": (c_void_p, c_void_p),
    "cuEventRecordWithFlags": (c_void_p, c_void_p, c_uint),
    "cuEventSynchronize": (c_void_p,),
    "cuEventElapsedTime": (c_void_p, c_void_p, c_void_p),
    "cuGraphInstantiateWithFlags": (c_void_p, c_void_p, c_uint64),
    "cuGraphExecUpdate_v2": (c_void_p, c_void_p, c_void_p),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphDestroy": (c_void_p,),
    "cuGraphExecDestroy": (c_void_p,),
    "cuTensorMapEncodeTiled": (c_void_p, c_int, c_uint, c_uint64, *[c_void_p] * 4, *[c_int] * 4),
    "cuTensorMapEncodeIm2col": (
        *(c_void_p, c_int, c_uint, c_uint64, *[c_void_p] * 4, c_uint, c_uint),
        *(c_void_p, *[c_int] * 4),
    ),
}


class Driver(Protocol):
    """What a device calls: the one seam, so that another can stand in for it (`sparsec.cuda.device.absent`)."""

    @property
    def version(self) -> int: ...

    @property
    def count(self) -> int: ...

    def call(self, function: str, *arguments: object, allowed: Sequence[int] = ()) -> int: ...


class _Driver:
    """The library, with every result checked."""

    def __init__(self) -> None:
        name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
        try:
            self._library = ctypes.CDLL(name)
        except OSError as error:
            raise TargetError(
                "There is no NVIDIA driver on this machine.",
                expected=name,
                next_step="compile for the CPU with --target native",
            ) from error
        if self._library.cuInit(0):
            raise _no_gpu()
        version, count = c_int(), c_int()
        self.call("cuDriverGetVersion", byref(version))
        if version.value < OLDEST_DRIVER:
            raise TargetError(
                "The NVIDIA driver of this machine is too old.",
                expected=f"one for CUDA {dotted(OLDEST_DRIVER)} or later",
                got=f"CUDA {dotted(version.value)}",
                next_step="update the driver",
            )
        self.version = version.value
        for function, arguments in _ARGUMENTS.items():  # some of which older drivers lack
            getattr(self._library, function).argtypes = arguments
        self.call("cuDeviceGetCount", byref(count))
        if not count.value:
            raise _no_gpu()
        self.count = count.value

    def call(self, function: str, *arguments: object, allowed: Sequence[int] = ()) -> int:
        """Call a function and return its result, 0 or one that is allowed; raises `TargetError` with the driver's words."""
        code: int = getattr(self._library, function)(*arguments)
        if code and code not in allowed:
            text = c_char_p()
            self._library.cuGetErrorString(code, byref(text))
            raise TargetError(f"The NVIDIA driver failed: {function}.", got=(text.value or b"?").decode())
        return code


def _no_gpu() -> TargetError:
    return TargetError(
        "There is no NVIDIA GPU that this process can use.", next_step="compile for the CPU with --target native"
    )


def dotted(version: int) -> str:
    """A version of CUDA as people write it."""
    return f"{version // 1000}.{version % 1000 // 10}"


@functools.cache
def load_driver() -> Driver:
    """The driver of this machine; raises `TargetError` in one sentence if there is none, none that is new enough, or no GPU."""
    return _Driver()
