"""Products with streams are right: emulated on a CPU, against float64, into poisoned outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulation import COMPILER, EmulatedDevice, emulated_function
from halves import NUMPY, nan_halves, random_halves, rounding_bound
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import two_of_four, unstructured
from numpy.typing import NDArray

from sparsec.cuda.device.tensors import View
from sparsec.cuda.products import product
from sparsec.cuda.products.form import encoded_as, on_gpu
from sparsec.cuda.products.operands import Results
from sparsec.cuda.streams import partition

KERNELS = ["bitmap_mma", "coo_mma", "nm24_mma"]
LARGE = {1: 0, 2: 1 << 60}  # for which so many warps share rows, whatever the size


def check(
    kernel: Any, values: NDArray[np.generic], tokens: int, workers: int, seed: int, *, residual: bool = False
) -> None:
    """Against float64; the type of halves is that of the values."""
    dtype = next(name for name, each in NUMPY.items() if each == values.dtype)
    on = EmulatedDevice(multiprocessors=workers)
    encoded = encoded_as(kernel, values.view(np.uint16), on)
    if encoded is None:
        return
    generator = np.random.default_rng(seed)
    (m, k), stride = values.shape, -(-values.shape[1] // 8) * 8
    x, y, more = nan_halves((tokens, stride)), nan_halves((tokens + 1, m + 3)), nan_halves((tokens, m + 3))
    given = random_halves(generator, (tokens, k), dtype)
    added = random_halves(generator, (tokens, m), dtype)
    x[:, :k], more[:, :m] = given.view(np.uint16), added.view(np.uint16)
    results = Results(y.ctypes.data, m + 3, m, 0, 0, *((more.ctypes.data, m + 3) if residual else (0, 0)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product, "function", emulated_function)
        view = View(x.ctypes.data, on.index, dtype, (tokens, k), (stride, 1))
        product.launch(on_gpu(encoded, dtype, on), None, view, results, 0)  # type: ignore[arg-type]
    wide_x, wide_w = given.astype(np.float64), values.astype(np.float64)
    expected = wide_x @ wide_w.T + residual * added.astype(np.float64)
    error = np.abs(y[:tokens, :m].view(values.dtype).astype(np.float64) - expected)
    assert (error <= rounding_bound(expected, np.abs(wide_x) @ np.abs(wide_w).T, k, dtype)).all()
    assert (y[tokens:] == 0x7FFF).all()
    assert (y[:, m:] == 0x7FFF).all()


def weight(kernel: str, m: int, k: int, density: float, dtype: str, seed: int) -> NDArray[np.generic]:
    """Normal numbers where the kernel may have nonzeros."""
    kept = two_of_four(m, k, seed) if kernel == "nm24_mma" else unstructured(m, k, density, seed)
    values: NDArray[np.generic] = random_halves(np.random.default_rng(seed), (m, k), "float16").astype(NUMPY[dtype])
    return np.where(kept != 0, values, np.zeros(1, dtype=values.dtype))


@pytest.mark.skipif(COMPILER is None, reason="needs g++")
@pytest.mark.parametrize(("kernel", "density"), [*((kernel, 0.2) for kernel in KERNELS), ("bitmap_mma", 0.1)])
def test_parts_of_batches_and_of_rows_are_put_together(kernel: str, density: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "LARGE", 0)
        for workers in (1, 3):
            check(kernel, weight(kernel, 600, 700, density, "float16", 1), 13, workers, 1, residual=workers == 1)


@pytest.mark.skipif(COMPILER is None, reason="needs g++")
@settings(max_examples=6, deadline=None)
@given(
    st.sampled_from(KERNELS),
    st.sampled_from(list(NUMPY)),
    st.sampled_from(list(LARGE)),
    st.tuples(st.integers(1, 700), st.integers(1, 600), st.integers(1, 3)),
    st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.4, 1.0]),
    st.sampled_from([1, 8, 13, 64, 70]),
    st.integers(0, 1 << 30),
)
def test_any_shape_and_density(
    kernel: str, dtype: str, halves: int, sizes: tuple[int, int, int], density: float, tokens: int, seed: int
) -> None:
    m, k, workers = sizes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "LARGE", LARGE[halves])
        values = weight(kernel, m, k, density, dtype, seed)
        check(kernel, values, tokens, workers, seed, residual=seed % 2 == 0)
