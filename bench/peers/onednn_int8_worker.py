"""The far side of `onednn.OneDnnInt8`: X' [N, K] quantised to u8, times W' [K, M] in s8, dequantised to Y' [N, M] in float32."""

from __future__ import annotations

import os
from ctypes import byref, c_void_p
from pathlib import Path

import numpy as np

from bench.peers.onednn_library import (
    ANY_LAYOUT,
    DESTINATION,
    F32,
    S8,
    S32,
    SCALES,
    SOURCE,
    U8,
    WEIGHTS,
    ZERO_POINTS,
    Dims,
    OneDnn,
)
from bench.peers.peer import Arrays, Calls
from bench.peers.serve import Load, serve

_VECTOR, _QUERY_WEIGHTS = 2, 131  # dnnl_a, dnnl_query_weights_md


def load(library: OneDnn, folder: Path) -> Calls[Arrays]:
    facts = np.load(folder / "quantized.npz")
    weight, tokens = facts["weight"], facts["tokens"]
    (k, m), n = weight.shape, tokens.shape[0]
    floats, bytes_, result = library.matrix(n, k, F32), library.matrix(n, k, U8), library.matrix(n, m, F32)
    numbers = _scalar(library, F32), _scalar(library, S32)
    x_scale = library.memory(numbers[0], facts["x_scale"].reshape(1).astype(np.float32))
    w_scale = library.memory(numbers[0], facts["w_scale"].reshape(1).astype(np.float32))
    x_zero = library.memory(numbers[1], facts["x_zero"].reshape(1).astype(np.int32))
    quantize = _reorder(library, floats, bytes_, _attributes(library, DESTINATION, DESTINATION))
    attributes = _attributes(library, SOURCE, SOURCE, WEIGHTS)
    description, multiply = c_void_p(), c_void_p()
    packed = library.matrix(k, m, S8, ANY_LAYOUT)
    library.call(
        "matmul_primitive_desc_create", byref(description), library.engine, bytes_, packed, None, result, attributes
    )
    library.call("primitive_create", byref(multiply), description)
    plain = library.matrix(k, m, S8)
    chosen = library.layout(description, _QUERY_WEIGHTS)
    w, packed_w = library.memory(plain, weight), library.memory(chosen)
    library.execution(_reorder(library, plain, chosen, None), {SOURCE: w, DESTINATION: packed_w})()
    x, x_bytes = library.memory(floats, tokens), library.memory(bytes_)
    y = library.memory(result)
    first = library.execution(
        quantize, {SOURCE: x, DESTINATION: x_bytes, SCALES | DESTINATION: x_scale, ZERO_POINTS | DESTINATION: x_zero}
    )
    second = library.execution(
        multiply,
        {
            SOURCE: x_bytes,
            WEIGHTS: packed_w,
            DESTINATION: y,
            SCALES | SOURCE: x_scale,
            SCALES | WEIGHTS: w_scale,
            ZERO_POINTS | SOURCE: x_zero,
        },
    )

    def run() -> None:
        first()
        second()

    def release() -> None:
        for memory in (x_scale, w_scale, x_zero, w, packed_w, x, x_bytes, y):
            library.call("memory_destroy", memory)

    return Calls(run, lambda: (library.read(y, (n, m)),), release)


def _scalar(library: OneDnn, dtype: int) -> c_void_p:
    found = c_void_p()
    library.call("memory_desc_create_with_tag", byref(found), 1, Dims(1), dtype, _VECTOR)
    return found


def _attributes(library: OneDnn, zero_point: int, *scales: int) -> c_void_p:
    """One scale per tensor for the arguments `scales`, one zero point for `zero_point`."""
    found = c_void_p()
    library.call("primitive_attr_create", byref(found))
    for argument in scales:
        library.call("primitive_attr_set_scales_mask", found, argument, 0)
    library.call("primitive_attr_set_zero_points_mask", found, zero_point, 0)
    return found


def _reorder(library: OneDnn, source: c_void_p, target: c_void_p, attributes: c_void_p | None) -> c_void_p:
    description, primitive = c_void_p(), c_void_p()
    library.call(
        "reorder_primitive_desc_create",
        byref(description),
        source,
        library.engine,
        target,
        library.engine,
        attributes,
    )
    library.call("primitive_create", byref(primitive), description)
    return primitive


def opened() -> tuple[str, Load]:
    library = OneDnn(os.environ["SPARSEC_BENCH_ONEDNN"])
    return library.version, lambda folder: load(library, folder)


if __name__ == "__main__":
    serve(opened)
