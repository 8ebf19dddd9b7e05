"""oneMKL's inspector-executor CSR product, through ctypes; float32, sequential."""

from __future__ import annotations

import ctypes
import os
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from bench.peers.libraries import packaged_library
from bench.peers.peer import F32, AbsentError, Calls, FailedError, Layer

_NON_TRANSPOSE, _ROW_MAJOR, _GENERAL = 10, 101, 20  # of mkl_spblas.h
_EXPECTED_CALLS = 10_000
_SEQUENTIAL = 1


class _Description(ctypes.Structure):
    """struct matrix_descr"""

    _fields_ = [("type", ctypes.c_int), ("mode", ctypes.c_int), ("diagonal", ctypes.c_int)]


class MklCsr:
    def __init__(self) -> None:
        path = packaged_library("mkl", "libmkl_rt")
        try:  # deep binding: torch and others carry an MKL of their own in the same process
            self._library = ctypes.CDLL(str(path), mode=ctypes.RTLD_LOCAL | os.RTLD_DEEPBIND)
        except OSError as error:
            raise AbsentError(str(error)) from error
        self._library.MKL_Set_Threading_Layer(_SEQUENTIAL)
        try:
            self.version = metadata.version("mkl")
        except metadata.PackageNotFoundError:
            self.version = "of the system"

    def enter(self, layer: Layer) -> Calls[F32]:
        library, (m, k), n = self._library, layer.weight.shape, layer.x.shape[1]
        rows, columns = np.nonzero(layer.weight)
        starts = np.zeros(m + 1, np.int32)
        np.cumsum(np.bincount(rows, minlength=m), out=starts[1:])
        columns, values = columns.astype(np.int32), layer.weight[rows, columns]
        matrix, ends = ctypes.c_void_p(), starts[1:]
        _check(
            library.mkl_sparse_s_create_csr(
                ctypes.byref(matrix), 0, m, k, _pointer(starts), _pointer(ends), _pointer(columns), _pointer(values)
            )
        )
        description, y = _Description(_GENERAL, 0, 0), np.zeros((m, n), np.float32)
        library.mkl_sparse_set_mm_hint(matrix, _NON_TRANSPOSE, description, _ROW_MAJOR, n, _EXPECTED_CALLS)
        _check(library.mkl_sparse_optimize(matrix))
        one, zero, x_at, y_at = ctypes.c_float(1), ctypes.c_float(0), _pointer(layer.x), _pointer(y)

        def run(*_: object, in_use: object = (starts, columns, values, layer.x)) -> None:
            library.mkl_sparse_s_mm(_NON_TRANSPOSE, one, matrix, description, _ROW_MAJOR, x_at, n, n, zero, y_at, n)

        return Calls(run, lambda: y, lambda: library.mkl_sparse_destroy(matrix))

    def close(self) -> None:
        pass


def _check(status: int) -> None:
    if status:
        raise FailedError(f"oneMKL returned status {status}")


def _pointer(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
