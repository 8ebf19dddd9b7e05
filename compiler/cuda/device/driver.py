"""A GPU through NVIDIA's driver: the context that other libraries use too, memory, modules, launches."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import byref, c_int, c_size_t, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.device.library import Driver, dotted, load_driver
from sparsec.errors import TargetError

OLDEST_ARCHITECTURE = (8, 0)

MULTIPROCESSORS, MEMORY_KILOHERTZ, MEMORY_BITS, MAJOR, MINOR, SHARED_BYTES = (
    16,
    36,
    37,
    75,
    76,
    97,
)  # attributes of devices
_DYNAMIC_SHARED_BYTES = 8
_PROGRAMMATIC_SERIALIZATION = 6
_OVERLAP = (9, 0)  # the first architecture whose kernels may begin before the one before them ends

_OUT_OF_MEMORY = 2  # a result of the driver
_ERROR_LOG, _ERROR_LOG_BYTES = 5, 6  # options of loading a module

_BITS16, _PROMOTE_256 = 1, 3  # of tensor maps
_SWIZZLES = {64: 2, 128: 3}  # by the bytes of a box's rows


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


KernelKey: TypeAlias = tuple[str, tuple[tuple[str, int], ...], int]
"""A kernel of this package: its name, its macros in order, and bytes of shared memory."""


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


@dataclass(frozen=True, slots=True)
class Module:
    """Loaded PTX or machine code."""

    handle: int


class _Inside(threading.local):
    """How many `with` of `Device.current` a thread is in."""

    depth = 0


class Device:
    """One GPU, in its primary context, which torch and others share. Make one with `device(index)`.

    `functions` are the kernels of this package that are loaded already, `images` machine code of such ones, by
    `sparsec.cuda.code.program`'s names.
    """

    def __init__(self, index: int, driver: Driver | None = None) -> None:
        self._driver = driver or load_driver()
        self.functions: dict[KernelKey, Function] = {}
        self.images: dict[str, bytes] = {}
        if not 0 <= index < self._driver.count:
            raise TargetError("There is no such GPU.", expected=f"0 to {self._driver.count - 1}", got=str(index))
        handle, context = c_int(), c_void_p()
        self._driver.call("cuDeviceGet", byref(handle), index)
        name = ctypes.create_string_buffer(256)
        self._driver.call("cuDeviceGetName", name, len(name), handle)
        self.index = index
        self.name = name.value.decode()
        self.driver = dotted(self._driver.version)
        self.architecture = (self._attribute(MAJOR, handle), self._attribute(MINOR, handle))
        self.multiprocessors = self._attribute(MULTIPROCESSORS, handle)
        self.shared_bytes = self._attribute(SHARED_BYTES, handle)
        clock, bits = self._attribute(MEMORY_KILOHERTZ, handle), self._attribute(MEMORY_BITS, handle)
        self.bytes_per_second = 2e3 * clock * bits / 8  # of memory, by its data sheet
        if self.architecture < OLDEST_ARCHITECTURE:
            raise TargetError(
                "This GPU is older than what sparsec has kernels for.",
                expected="compute capability 8.0 or later",
                got=f"{self.name}, {self.architecture[0]}.{self.architecture[1]}",
            )
        self._driver.call("cuDevicePrimaryCtxRetain", byref(context), handle)
        self._context = context
        self._inside = _Inside()

    @property
    def overlaps(self) -> bool:
        """Whether kernels begin before the one before them ends."""
        return self.architecture >= _OVERLAP

    def _attribute(self, which: int, handle: c_int) -> int:
        value = c_int()
        self._driver.call("cuDeviceGetAttribute", byref(value), which, handle)
        return value.value

    def call(self, function: str, *arguments: object, allowed: Sequence[int] = ()) -> int:
        """Call a function of the driver in this device's context, as `Driver.call` does."""
        if self._inside.depth:
            return self._driver.call(function, *arguments, allowed=allowed)
        with self.current():
            return self._driver.call(function, *arguments, allowed=allowed)

    @contextmanager
    def current(self) -> Iterator[None]:
        """This device's context is current in here, which saves `call` from making it so each time."""
        if not self._inside.depth:
            self._driver.call("cuCtxPushCurrent_v2", self._context)
        self._inside.depth += 1
        try:
            yield
        finally:
            self._inside.depth -= 1
            if not self._inside.depth:
                self._driver.call("cuCtxPopCurrent_v2", byref(c_void_p()))

    def module(self, image: bytes) -> Module:
        """Load machine code, or PTX, which the driver compiles. Raises `TargetError`, if it does not, with its log."""
        module, log = c_void_p(), ctypes.create_string_buffer(8192)
        options = (c_int * 2)(_ERROR_LOG, _ERROR_LOG_BYTES)
        values = (c_void_p * 2)(ctypes.addressof(log), len(log))
        try:
            self.call("cuModuleLoadDataEx", byref(module), image, 2, options, values)
        except TargetError as error:
            raise TargetError(
                "The NVIDIA driver does not take the code of this program.",
                expected=f"code for {self.name} and a driver for CUDA {self.driver}",
                got=log.value.decode(errors="replace").strip() or error.got,
                next_step="update the driver, or compile the model again for this GPU",
            ) from error
        assert module.value is not None
        return Module(module.value)

    def unload(self, module: Module) -> None:
        """Of what is loaded."""
        self.call("cuModuleUnload", module.handle)

    def function(self, module: Module, name: str, shared_bytes: int) -> Function:
        """A kernel of a module, that may have so much dynamic shared memory."""
        function = c_void_p()
        self.call("cuModuleGetFunction", byref(function), module.handle, name.encode())
        self.call("cuFuncSetAttribute", function, _DYNAMIC_SHARED_BYTES, shared_bytes)
        assert function.value is not None
        return Function(function.value, shared_bytes)

    def load(self, image: bytes, name: str, shared_bytes: int) -> Function:
        """Load the kernel `name` of a cubin or of PTX, for good."""
        return self.function(self.module(image), name, shared_bytes)

    def launch(
        self,
        function: Function,
        grid: tuple[int, ...],
        threads: int,
        arguments: ctypes.Structure,
        stream: int,
    ) -> None:
        """Put a kernel whose one parameter is a structure on a stream; 0 is the legacy default stream.

        The kernel itself waits for the one before it, where the device `overlaps`.
        """
        parameters = (c_void_p * 1)(ctypes.addressof(arguments))
        self._launch(function, (*grid, 1, 1)[:3], (threads, 1, 1), parameters, stream)

    def launch_on(
        self,
        function: Function,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        pointers: Sequence[int],
        stream: int,
    ) -> None:
        """Put a kernel whose parameters are pointers on a stream; where the device `overlaps`, it waits itself, too."""
        values = (c_uint64 * len(pointers))(*pointers)
        first = ctypes.addressof(values)
        parameters = (c_void_p * len(pointers))(*(first + 8 * index for index in range(len(pointers))))
        self._launch(function, grid, block, parameters, stream)

    def _launch(
        self,
        function: Function,
        grid: tuple[int, ...],
        block: tuple[int, int, int],
        parameters: ctypes.Array[c_void_p],
        stream: int,
    ) -> None:
        attribute = _Attribute(_PROGRAMMATIC_SERIALIZATION, 0, 1)
        launch = _Launch(*grid, *block, function.shared_bytes, stream, ctypes.pointer(attribute), int(self.overlaps))
        self.call("cuLaunchKernelEx", byref(launch), function.handle, parameters, None)

    def tensor_map(self, address: int, rows: int, columns: int, stride: int, box: tuple[int, int]) -> TensorMap:
        """Of a row-major matrix of 16-bit elements, in boxes of so many rows and columns, 64 or 128 bytes, swizzled.

        The address is a multiple of 16, `stride` (elements) of 8. Compute capability 9.0 and later.
        """
        lengths, strides, ones = (c_uint64 * 2)(columns, rows), (c_uint64 * 1)(2 * stride), (c_uint * 2)(1, 1)
        sizes = (c_uint * 2)(box[1], box[0])
        fixed = 0, _SWIZZLES[2 * box[1]], _PROMOTE_256, 0
        return self._map("cuTensorMapEncodeTiled", _BITS16, 2, address, lengths, strides, sizes, ones, *fixed)

    def window_map(
        self,
        address: int,
        shape: tuple[int, int, int, int],
        apart: tuple[int, int, int],
        first: tuple[int, int],
        last: tuple[int, int],
        steps: tuple[int, int],
        box: tuple[int, int],
    ) -> TensorMap:
        """Of images [images, height, width, channels] of 16-bit elements: boxes of so many pixels and channels, 64 or 128 bytes,
        swizzled. Images, rows and pixels are `apart` elements from one to the next, and may have some in common.

        Pixels are those at the same place in windows that begin at (down, right) `first`, and then each `steps` further, row
        by row and image by image, up to `last` from the last pixel of an image. The address is a multiple of 16, `apart` are
        of 8; places are -128 to 127. Compute capability 9.0 and later.
        """
        images, height, width, channels = shape
        lengths = (c_uint64 * 4)(channels, width, height, images)
        strides = (c_uint64 * 3)(*(2 * each for each in reversed(apart)))
        corners = [(c_int * 2)(right, down) for down, right in (first, last)]
        each = (c_uint * 4)(1, steps[1], steps[0], 1)
        fixed = 0, _SWIZZLES[2 * box[1]], _PROMOTE_256, 0
        given = (_BITS16, 4, address, lengths, strides, *corners, box[1], box[0], each, *fixed)
        return self._map("cuTensorMapEncodeIm2col", *given)

    def _map(self, function: str, *given: object) -> TensorMap:
        space = (c_uint64 * 32)()  # the driver wants its map at a multiple of 64
        aligned = -(-ctypes.addressof(space) // 64) * 64
        self.call(function, aligned, *given)
        return TensorMap.from_buffer_copy(ctypes.string_at(aligned, ctypes.sizeof(TensorMap)))

    def allocate(self, nbytes: int) -> Buffer:
        """Memory of unknown content; raises `TargetError` if there is not so much."""
        address, free, total = c_uint64(), c_size_t(), c_size_t()
        if self.call("cuMemAlloc_v2", byref(address), max(nbytes, 1), allowed=(_OUT_OF_MEMORY,)):
            self.call("cuMemGetInfo_v2", byref(free), byref(total))
            raise TargetError(
                "The GPU has not enough memory.",
                expected=f"{nbytes:,} bytes more",
                got=f"{free.value:,} of {total.value:,} bytes are free on {self.name}",
            )
        return Buffer(address.value, nbytes)

    def free(self, buffer: Buffer) -> None:
        """Give memory back; waits for what runs."""
        self.call("cuMemFree_v2", buffer.address)

    def allocate_in_order(self, nbytes: int, stream: int) -> Buffer:
        """Memory for what is put on a stream after this."""
        address = c_uint64()
        self.call("cuMemAllocAsync", byref(address), max(nbytes, 1), stream)
        return Buffer(address.value, nbytes)

    def free_in_order(self, buffer: Buffer, stream: int) -> None:
        """Give such memory back to what is put on the stream after this."""
        self.call("cuMemFreeAsync", buffer.address, stream)

    def upload(self, array: NDArray[np.generic]) -> Buffer:
        """Copy an array into new memory."""
        whole = np.ascontiguousarray(array)
        buffer = self.allocate(whole.nbytes)
        self.call("cuMemcpyHtoD_v2", buffer.address, whole.ctypes.data, whole.nbytes)
        return buffer

    def pinned(self, nbytes: int) -> NDArray[np.uint8]:
        """Memory of the host, a byte at least, that is copied from and to without detours; see `free_pinned`."""
        address = c_void_p()
        self.call("cuMemHostAlloc", byref(address), max(nbytes, 1), 0)
        assert address.value is not None
        return np.ctypeslib.as_array((ctypes.c_uint8 * max(nbytes, 1)).from_address(address.value))

    def free_pinned(self, array: NDArray[np.uint8]) -> None:
        """Give back what `pinned` made; nothing may use it any more."""
        self.call("cuMemFreeHost", array.ctypes.data)

    def zeros(self, nbytes: int) -> Buffer:
        """New memory of zeros."""
        buffer = self.allocate(nbytes)
        self.call("cuMemsetD8_v2", buffer.address, 0, max(nbytes, 1))
        self.synchronize()
        return buffer

    def synchronize(self) -> None:
        """Wait for everything on the device, and raise what failed."""
        self.call("cuCtxSynchronize")


@functools.cache
def device(index: int = 0) -> Device:
    """The GPU with this number; raises `TargetError` in one sentence if it cannot be used."""
    return Device(index)
