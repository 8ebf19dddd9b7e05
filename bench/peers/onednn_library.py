"""oneDNN's C interface, as far as the far sides of its workers need it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from ctypes import byref, c_int, c_int64, c_void_p

import numpy as np
from numpy.typing import NDArray

# Of dnnl_types.h and dnnl_common_types.h.
F32, S32, S8, U8 = 3, 4, 5, 6
ANY_LAYOUT, ROW_MAJOR = 1, 3
SOURCE, DESTINATION, WEIGHTS, SCALES, ZERO_POINTS = 1, 17, 33, 4096, 8192
_CPU, _IN_ORDER = 1, 1
_ALLOCATE = c_void_p(-1)
_OLDEST = (3, 13)  # earlier ones compute CSR without code made for it

Dims = c_int64 * 12


class Argument(ctypes.Structure):
    """dnnl_exec_arg_t"""

    _fields_ = [("arg", c_int), ("memory", c_void_p)]


class _Version(ctypes.Structure):
    """dnnl_version_t, its beginning"""

    _fields_ = [("major", c_int), ("minor", c_int), ("patch", c_int)]


class OneDnn:
    """The library with one engine and one stream."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        self._library.dnnl_version.restype = ctypes.POINTER(_Version)
        version = self._library.dnnl_version().contents
        if (version.major, version.minor) < _OLDEST:
            raise RuntimeError(f"oneDNN is {version.major}.{version.minor}, too old")
        self.version = f"{version.major}.{version.minor}.{version.patch}"
        self.engine, self._stream = c_void_p(), c_void_p()
        self.call("engine_create", byref(self.engine), _CPU, c_int64(0))
        self.call("stream_create", byref(self._stream), self.engine, _IN_ORDER)

    def call(self, name: str, *arguments: object) -> None:
        """Call a C function; raises `RuntimeError` for any status but success."""
        status = getattr(self._library, f"dnnl_{name}")(*arguments)
        if status:
            raise RuntimeError(f"dnnl_{name} returned status {status}")

    def layout(self, description: c_void_p, of: int) -> c_void_p:
        """The layout that a primitive chose for one of its arguments."""
        self._library.dnnl_primitive_desc_query_md.restype = c_void_p
        return c_void_p(self._library.dnnl_primitive_desc_query_md(description, of, 0))

    def memory(self, description: c_void_p, *parts: NDArray[np.generic]) -> c_void_p:
        """Memory of the library's own, filled with the parts; with none, left as it is."""
        count = max(1, len(parts))
        memory, handles = c_void_p(), (c_void_p * count)(*[_ALLOCATE] * count)
        self.call("memory_create_v2", byref(memory), description, self.engine, count, handles)
        for index, part in enumerate(parts):
            whole, mapped = np.ascontiguousarray(part), c_void_p()
            self.call("memory_map_data_v2", memory, byref(mapped), index)
            ctypes.memmove(mapped, whole.ctypes.data, whole.nbytes)
            self.call("memory_unmap_data_v2", memory, mapped, index)
        return memory

    def execution(self, primitive: c_void_p, arguments: Mapping[int, c_void_p]) -> Callable[[], None]:
        """Run the primitive on memories by the number of the argument, and wait."""
        listed = (Argument * len(arguments))(*(Argument(number, memory) for number, memory in arguments.items()))
        execute, wait, stream = self._library.dnnl_primitive_execute, self._library.dnnl_stream_wait, self._stream

        def run() -> None:
            execute(primitive, stream, len(listed), listed)
            wait(stream)

        return run

    def matrix(self, rows: int, columns: int, dtype: int, layout: int = ROW_MAJOR) -> c_void_p:
        """A description of a dense matrix."""
        found = c_void_p()
        self.call("memory_desc_create_with_tag", byref(found), 2, Dims(rows, columns), dtype, layout)
        return found

    def read(self, memory: c_void_p, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Copy out."""
        found, mapped = np.empty(shape, np.float32), c_void_p()
        self.call("memory_map_data", memory, byref(mapped))
        ctypes.memmove(found.ctypes.data, mapped, found.nbytes)
        self.call("memory_unmap_data", memory, mapped)
        return found
