"""Small products by one kernel, for compute-sanitizer: `python sanitized.py KERNEL`.

By the driver alone, as torch's own kernels would be looked at, too: operands are in memory of exactly their size, results are NaN
before and checked after.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import ml_dtypes
import numpy as np
from matrices import blocks, groups_of_four_bits, quantized, two_of_four, unstructured
from numpy.typing import NDArray

from sparsec.cuda.device.driver import Device, device
from sparsec.cuda.device.tensors import View
from sparsec.cuda.products.dense import DenseWeight
from sparsec.cuda.products.dense_operands import Epilogue, Matrices
from sparsec.cuda.products.form import SparseForm, encoded_as, on_gpu
from sparsec.cuda.products.operands import Results, Rows
from sparsec.cuda.products.product import launch
from sparsec.cuda.products.sparse_weight import SparseWeight
from sparsec.cuda.streams.four_bits import dequantize
from sparsec.cuda.streams.w4_group_streams import W4GroupStreams
from sparsec.cuda.streams.w4_nm24_streams import W4Nm24Streams

SHAPES = ((513, 200), (40, 1001), (256, 1024))
TOKENS = (1, 8, 33, 130)
DENSITIES = {
    "bitmap_mma": (0.5, 0.1),
    "coo_mma": (0.1,),
    "coo_wgmma": (0.1,),
    "spmv": (0.5,),
    "spmv_ordered": (0.3,),
    "nm24_mma": (0.5,),
    "nm24_wgmma": (0.5,),
    "bsr_wgmma": (0.2,),
    "bsr_rows_mma": (0.2,),
    "bsr_tall_wgmma": (0.2, 0.05),
    "bsr_pairs_wgmma": (0.2,),
    "w4_nm24_mma": (0.5,),
    "w4_group_mma": (0.5,),
    "dense_few": (1.0,),
    "dense_wgmma": (1.0,),
    "dense_mma": (1.0,),
}
Values = NDArray[np.float32]


def weights(kernel: str, density: float, on: Device) -> Iterator[tuple[SparseForm | DenseWeight, Values]]:
    """Of all shapes that the kernel takes, with their values."""
    for m, k in SHAPES:
        if kernel.startswith("w4"):
            two = kernel == "w4_nm24_mma"
            made = quantized(m, k, m) if two else groups_of_four_bits(m, k, density, m)
            kind = W4Nm24Streams if two else W4GroupStreams
            yield SparseWeight(kind.encode(*made, on.multiprocessors), "bfloat16", on), dequantize(*made)
            continue
        values = np.random.default_rng(m).standard_normal((m, k)) * kept(kernel, m, k, density)
        halves = values.astype(np.float16)
        if kernel.startswith("dense"):
            yield DenseWeight(halves.view(np.uint16), "float16", on), halves.astype(np.float32)
        elif encoded := encoded_as(kernel, halves.view(np.uint16), on):  # type: ignore[arg-type]
            yield on_gpu(encoded, "float16", on), halves.astype(np.float32)


def kept(kernel: str, m: int, k: int, density: float) -> NDArray[np.bool_]:
    """Where there are nonzeros."""
    if kernel.startswith("nm24"):
        return two_of_four(m, k, m) != 0
    if kernel.startswith("bsr"):
        return blocks(m, k, 64 if kernel == "bsr_pairs_wgmma" else 32, density, m) != 0
    return unstructured(m, k, density, m) != 0


def check(kernel: str, weight: SparseForm | DenseWeight, values: Values, tokens: int) -> bool:
    """Whether a product is right, or the kernel does not do it."""
    (m, k), on, generator = values.shape, weight.device, np.random.default_rng(tokens)
    kind = np.dtype(np.float16 if weight.dtype == "float16" else ml_dtypes.bfloat16)
    x, residual = (generator.standard_normal((tokens, columns)).astype(kind) for columns in (k, m))
    bias, y = generator.standard_normal(m).astype(np.float32), np.full((tokens, m), np.nan, kind)
    buffers = [on.upload(each) for each in (x, y, bias, residual)]
    at_x, at_y, at_bias, at_residual = (each.address for each in buffers)
    if isinstance(weight, DenseWeight):
        rows, results = Rows(at_x, k, tokens, k), Matrices(at_y, m)
        after = Epilogue(at_bias, 0, Matrices(at_residual, m))
        if kernel not in weight.kernels(rows, results, after):
            return True
        weight.launch(rows, results, 0, epilogue=after, kernel=kernel)
    else:
        seen = View(at_x, on.index, weight.dtype, (tokens, k), (k, 1))
        launch(weight, None, seen, Results(at_y, m, m, at_bias, 0, at_residual, m), 0)
    on.synchronize()
    on.call("cuMemcpyDtoH_v2", y.ctypes.data, at_y, y.nbytes)
    for each in buffers:
        on.free(each)
    expected = x.astype(np.float64) @ values.T + bias + residual.astype(np.float64)
    size = np.abs(x.astype(np.float64)) @ np.abs(values.T) + 1
    bound = np.abs(expected) * float(ml_dtypes.finfo(kind).eps) + size * 2e-5
    return bool((np.abs(y.astype(np.float64) - expected) <= bound).all())


if __name__ == "__main__":
    chosen, gpu = sys.argv[1], device(0)
    right = [
        check(chosen, weight, values, tokens)
        for density in DENSITIES[chosen]
        for weight, values in weights(chosen, density, gpu)
        for tokens in TOKENS
    ]
    sys.exit(0 if right and all(right) else f"{right.count(False)} of {len(right)} products are wrong")
