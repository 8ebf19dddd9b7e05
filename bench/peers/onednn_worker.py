"""The far side of `onednn.OneDnnCsr`: CSR weights [M, K] times X [K, N], float32."""

from __future__ import annotations

import os
from ctypes import byref, c_int64, c_void_p
from pathlib import Path

import numpy as np

from bench.peers.onednn_library import DESTINATION, F32, S32, SOURCE, WEIGHTS, Dims, OneDnn
from bench.peers.peer import Arrays, Calls
from bench.peers.serve import Load, serve


def load(library: OneDnn, folder: Path) -> Calls[Arrays]:
    weight, x = np.load(folder / "weight.npy"), np.load(folder / "x.npy")
    (m, k), n = weight.shape, x.shape[1]
    rows, columns = np.nonzero(weight)
    starts = np.zeros(m + 1, np.int32)
    np.cumsum(np.bincount(rows, minlength=m), out=starts[1:])
    w, count = c_void_p(), c_int64(len(rows))
    library.call("memory_desc_create_with_csr_encoding", byref(w), 2, Dims(m, k), F32, count, S32, S32)
    source, destination = library.matrix(k, n, F32), library.matrix(m, n, F32)
    description, primitive = c_void_p(), c_void_p()
    library.call("matmul_primitive_desc_create", byref(description), library.engine, w, source, None, destination, None)
    library.call("primitive_create", byref(primitive), description)
    sparse = library.memory(w, weight[rows, columns], columns.astype(np.int32), starts)
    dense, result = library.memory(source, x), library.memory(destination, np.zeros((m, n), np.float32))
    run = library.execution(primitive, {SOURCE: sparse, WEIGHTS: dense, DESTINATION: result})

    def release() -> None:
        library.call("primitive_destroy", primitive)
        for memory in (sparse, dense, result):
            library.call("memory_destroy", memory)

    return Calls(run, lambda: (library.read(result, (m, n)),), release)


def opened() -> tuple[str, Load]:
    library = OneDnn(os.environ["SPARSEC_BENCH_ONEDNN"])
    return library.version, lambda folder: load(library, folder)


if __name__ == "__main__":
    serve(opened)
