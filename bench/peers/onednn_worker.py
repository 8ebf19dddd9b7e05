"""The far side of `onednn_csr`: CSR weights [M, K] times X [K, N] through oneDNN's C interface, float32."""

from __future__ import annotations

import ctypes
import os
from ctypes import byref, c_int, c_int64, c_void_p
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.peers.onednn_csr import LIBRARY
from bench.peers.peer import Arrays, Calls
from bench.peers.serve import Load, serve

# Of dnnl_types.h and dnnl_common_types.h.
_CPU, _F32, _S32, _ROW_MAJOR, _IN_ORDER = 1, 3, 4, 3, 1
_SOURCE, _DESTINATION, _WEIGHTS = 1, 17, 33
_ALLOCATE = c_void_p(-1)
_OLDEST = (3, 13)  # earlier ones compute CSR without code made for it

Dims = c_int64 * 12


class _Argument(ctypes.Structure):
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
        self._engine, self._stream = c_void_p(), c_void_p()
        self.call("engine_create", byref(self._engine), _CPU, c_int64(0))
        self.call("stream_create", byref(self._stream), self._engine, _IN_ORDER)

    def call(self, name: str, *arguments: object) -> None:
        """Call a C function; raises `RuntimeError` for any status but success."""
        status = getattr(self._library, f"dnnl_{name}")(*arguments)
        if status:
            raise RuntimeError(f"dnnl_{name} returned status {status}")

    def load(self, folder: Path) -> Calls[Arrays]:
        weight, x = np.load(folder / "weight.npy"), np.load(folder / "x.npy")
        (m, k), n = weight.shape, x.shape[1]
        rows, columns = np.nonzero(weight)
        starts = np.zeros(m + 1, np.int32)
        np.cumsum(np.bincount(rows, minlength=m), out=starts[1:])
        w, source, destination = c_void_p(), c_void_p(), c_void_p()
        count = c_int64(len(rows))
        self.call("memory_desc_create_with_csr_encoding", byref(w), 2, Dims(m, k), _F32, count, _S32, _S32)
        self.call("memory_desc_create_with_tag", byref(source), 2, Dims(k, n), _F32, _ROW_MAJOR)
        self.call("memory_desc_create_with_tag", byref(destination), 2, Dims(m, n), _F32, _ROW_MAJOR)
        description, primitive = c_void_p(), c_void_p()
        self.call("matmul_primitive_desc_create", byref(description), self._engine, w, source, None, destination, None)
        self.call("primitive_create", byref(primitive), description)
        sparse = self._memory(w, weight[rows, columns], columns.astype(np.int32), starts)
        dense, result = self._memory(source, x), self._memory(destination, np.zeros((m, n), np.float32))
        arguments = (_Argument * 3)(
            _Argument(_SOURCE, sparse), _Argument(_WEIGHTS, dense), _Argument(_DESTINATION, result)
        )
        execute, wait, stream = self._library.dnnl_primitive_execute, self._library.dnnl_stream_wait, self._stream

        def run() -> None:
            execute(primitive, stream, 3, arguments)
            wait(stream)

        def release() -> None:
            self.call("primitive_destroy", primitive)
            for memory in (sparse, dense, result):
                self.call("memory_destroy", memory)

        return Calls(run, lambda: (self._read(result, (m, n)),), release)

    def _memory(self, description: c_void_p, *parts: NDArray[np.generic]) -> c_void_p:
        """Memory of the library's own, filled with the parts."""
        memory, handles = c_void_p(), (c_void_p * len(parts))(*[_ALLOCATE] * len(parts))
        self.call("memory_create_v2", byref(memory), description, self._engine, len(parts), handles)
        for index, part in enumerate(parts):
            whole, mapped = np.ascontiguousarray(part), c_void_p()
            self.call("memory_map_data_v2", memory, byref(mapped), index)
            ctypes.memmove(mapped, whole.ctypes.data, whole.nbytes)
            self.call("memory_unmap_data_v2", memory, mapped, index)
        return memory

    def _read(self, memory: c_void_p, shape: tuple[int, int]) -> NDArray[np.float32]:
        found, mapped = np.empty(shape, np.float32), c_void_p()
        self.call("memory_map_data", memory, byref(mapped))
        ctypes.memmove(found.ctypes.data, mapped, found.nbytes)
        self.call("memory_unmap_data", memory, mapped)
        return found


def opened() -> tuple[str, Load]:
    library = OneDnn(os.environ[LIBRARY])
    return library.version, library.load


if __name__ == "__main__":
    serve(opened)
