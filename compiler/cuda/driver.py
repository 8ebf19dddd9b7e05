"""NVIDIA's driver, by ctypes: the context that other libraries use too, memory, modules, launches. Nothing else is needed
to run."""

from __future__ import annotations

import ctypes
import functools
import sys
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.errors import TargetError

OLDEST_DRIVER = 12000
OLDEST_ARCHITECTURE = (8, 0)

_MULTIPROCESSORS, _MEMORY_KILOHERTZ, _MEMORY_BITS, _MAJOR, _MINOR, _SHARED_BYTES = 16, 36, 37, 75, 76, 97
_DYNAMIC_SHARED_BYTES = 8
_PROGRAMMATIC_SERIALIZATION = 6
_OVERLAP = (9, 0)  # the first architecture whose kernels may begin before the one before them ends

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
    "cuModuleLoadData": (c_void_p, c_char_p),
    "cuModuleGetFunction": (c_void_p, c_void_p, c_char_p),
    "cuFuncSetAttribute": (c_void_p, c_int, c_int),
    "cuLaunchKernelEx": (c_void_p, c_void_p, c_void_p, c_void_p),
    "cuMemAlloc_v2": (c_void_p, c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemAllocAsync": (c_void_p, c_size_t, c_void_p),
    "cuMemFreeAsync": (c_uint64, c_void_p),
    "cuMemcpyHtoD_v2": (c_uint64, c_void_p, c_size_t),
    "cuMemcpyDtoH_v2": (c_void_p, c_uint64, c_size_t),
    "cuMemsetD8_v2": (c_uint64, ctypes.c_ubyte, c_size_t),
    "cuTensorMapEncodeTiled": (c_void_p, c_int, c_uint, c_uint64, *[c_void_p] * 4, *[c_int] * 4),
}

_BITS16, _SWIZZLE_128, _PROMOTE_256 = 1, 3, 3  # of tensor maps


class _Attribute(ctypes.Structure):
    _fields_ = (("id", c_int), ("padding", c_int), ("value", c_int), ("rest", ctypes.c_char * 60))


class _Launch(ctypes.Structure):
    _fields_ = (
        *((name, c_uint) for name in ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z", "shared_bytes")),
        ("stream", c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("count", c_uint),
    )


class TensorMap(ctypes.Structure):
    """A parameter of kernels: where a matrix lies, and how boxes of it are copied to shared memory."""

    _fields_ = (("opaque", c_uint64 * 16),)


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
                expected=f"one for CUDA {_dotted(OLDEST_DRIVER)} or later",
                got=f"CUDA {_dotted(version.value)}",
                next_step="update the driver",
            )
        self.version = version.value
        for function, arguments in _ARGUMENTS.items():  # some of which older drivers lack
            getattr(self._library, function).argtypes = arguments
        self.call("cuDeviceGetCount", byref(count))
        if not count.value:
            raise _no_gpu()
        self.count = count.value

    def call(self, function: str, *arguments: object) -> None:
        """Call a function; raises `TargetError` with the driver's own words."""
        code = getattr(self._library, function)(*arguments)
        if code:
            text = c_char_p()
            self._library.cuGetErrorString(code, byref(text))
            raise TargetError(f"The NVIDIA driver failed: {function}.", got=(text.value or b"?").decode())


def _no_gpu() -> TargetError:
    return TargetError(
        "There is no NVIDIA GPU that this process can use.", next_step="compile for the CPU with --target native"
    )


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


@functools.cache
def _driver() -> _Driver:
    return _Driver()


@dataclass(frozen=True, slots=True)
class Function:
    """A kernel in a loaded module, and the bytes of shared memory that its blocks ask for."""

    handle: int
    shared_bytes: int


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes on a device; whoever holds the device frees them."""

    address: int
    nbytes: int


class Device:
    """One GPU, in its primary context, which torch and others share. Make one with `device(index)`."""

    def __init__(self, index: int) -> None:
        self._driver = _driver()
        if not 0 <= index < self._driver.count:
            raise TargetError("There is no such GPU.", expected=f"0 to {self._driver.count - 1}", got=str(index))
        handle, context = c_int(), c_void_p()
        self._driver.call("cuDeviceGet", byref(handle), index)
        name = ctypes.create_string_buffer(256)
        self._driver.call("cuDeviceGetName", name, len(name), handle)
        self.index = index
        self.name = name.value.decode()
        self.driver = _dotted(self._driver.version)
        self.architecture = (self._attribute(_MAJOR, handle), self._attribute(_MINOR, handle))
        self.multiprocessors = self._attribute(_MULTIPROCESSORS, handle)
        self.shared_bytes = self._attribute(_SHARED_BYTES, handle)
        clock, bits = self._attribute(_MEMORY_KILOHERTZ, handle), self._attribute(_MEMORY_BITS, handle)
        self.bytes_per_second = 2e3 * clock * bits / 8  # of memory, by its data sheet
        if self.architecture < OLDEST_ARCHITECTURE:
            raise TargetError(
                "This GPU is older than what sparsec has kernels for.",
                expected="compute capability 8.0 or later",
                got=f"{self.name}, {self.architecture[0]}.{self.architecture[1]}",
            )
        self._driver.call("cuDevicePrimaryCtxRetain", byref(context), handle)
        self._context = context

    def _attribute(self, which: int, handle: c_int) -> int:
        value = c_int()
        self._driver.call("cuDeviceGetAttribute", byref(value), which, handle)
        return value.value

    def _call(self, function: str, *arguments: object) -> None:
        self._driver.call("cuCtxPushCurrent_v2", self._context)
        try:
            self._driver.call(function, *arguments)
        finally:
            self._driver.call("cuCtxPopCurrent_v2", byref(c_void_p()))

    def load(self, image: bytes, name: str, shared_bytes: int) -> Function:
        """Load the kernel `name` of a cubin or of PTX."""
        module, function = c_void_p(), c_void_p()
        self._call("cuModuleLoadData", byref(module), image)
        self._call("cuModuleGetFunction", byref(function), module, name.encode())
        self._call("cuFuncSetAttribute", function, _DYNAMIC_SHARED_BYTES, shared_bytes)
        assert function.value is not None
        return Function(function.value, shared_bytes)

    def launch(
        self, function: Function, grid: tuple[int, int], threads: int, arguments: ctypes.Structure, stream: int
    ) -> None:
        """Put a kernel whose one parameter is a structure on a stream; 0 is the legacy default stream.

        The kernel itself waits for the one before it, where the architecture has that.
        """
        parameters = (c_void_p * 1)(ctypes.addressof(arguments))
        attribute = _Attribute(_PROGRAMMATIC_SERIALIZATION, 0, 1)
        count = int(self.architecture >= _OVERLAP)
        launch = _Launch(*grid, 1, threads, 1, 1, function.shared_bytes, stream, ctypes.pointer(attribute), count)
        self._call("cuLaunchKernelEx", byref(launch), function.handle, parameters, None)

    def tensor_map(self, address: int, rows: int, columns: int, stride: int, box: tuple[int, int]) -> TensorMap:
        """Of a row-major matrix of 16-bit elements, in boxes of so many rows and columns, 128 bytes, swizzled.

        The address is a multiple of 16, `stride` (elements) of 8. Compute capability 9.0 and later.
        """
        space = (c_uint64 * 32)()  # the driver wants its map at a multiple of 64
        aligned = -(-ctypes.addressof(space) // 64) * 64
        lengths, strides, ones = (c_uint64 * 2)(columns, rows), (c_uint64 * 1)(2 * stride), (c_uint * 2)(1, 1)
        sizes = (c_uint * 2)(box[1], box[0])
        fixed = 0, _SWIZZLE_128, _PROMOTE_256, 0
        self._call("cuTensorMapEncodeTiled", aligned, _BITS16, 2, address, lengths, strides, sizes, ones, *fixed)
        return TensorMap.from_buffer_copy(ctypes.string_at(aligned, ctypes.sizeof(TensorMap)))

    def allocate(self, nbytes: int) -> Buffer:
        """Memory of unknown content."""
        address = c_uint64()
        self._call("cuMemAlloc_v2", byref(address), max(nbytes, 1))
        return Buffer(address.value, nbytes)

    def free(self, buffer: Buffer) -> None:
        """Give memory back; waits for what runs."""
        self._call("cuMemFree_v2", buffer.address)

    def allocate_in_order(self, nbytes: int, stream: int) -> Buffer:
        """Memory for what is put on a stream after this."""
        address = c_uint64()
        self._call("cuMemAllocAsync", byref(address), max(nbytes, 1), stream)
        return Buffer(address.value, nbytes)

    def free_in_order(self, buffer: Buffer, stream: int) -> None:
        """Give such memory back to what is put on the stream after this."""
        self._call("cuMemFreeAsync", buffer.address, stream)

    def upload(self, array: NDArray[np.generic]) -> Buffer:
        """Copy an array into new memory."""
        whole = np.ascontiguousarray(array)
        buffer = self.allocate(whole.nbytes)
        self._call("cuMemcpyHtoD_v2", buffer.address, whole.ctypes.data, whole.nbytes)
        return buffer

    def zeros(self, nbytes: int) -> Buffer:
        """New memory of zeros."""
        buffer = self.allocate(nbytes)
        self._call("cuMemsetD8_v2", buffer.address, 0, max(nbytes, 1))
        self.synchronize()
        return buffer

    def synchronize(self) -> None:
        """Wait for everything on the device, and raise what failed."""
        self._call("cuCtxSynchronize")


@functools.cache
def device(index: int = 0) -> Device:
    """The GPU with this number; raises `TargetError` in one sentence if it cannot be used."""
    return Device(index)
