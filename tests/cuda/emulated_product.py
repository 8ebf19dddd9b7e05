"""Whether what an emulated kernel makes of X and a weight is right, with bias and activation, and with or without a residual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from emulation import EmulatedDevice, emulated_function
from halves import NUMPY, Guarded, random_halves, rounding_bound
from matrices import blocks

from sparsec.cuda.products import block_weight
from sparsec.cuda.products.operands import Results, Rows

RELU = 1


def check_product(
    launch: Callable[[Rows, Results], None],
    values: Any,
    tokens: int,
    dtype: str,
    seed: int,
    *,
    residual: bool = True,
    launches: int = 2,
) -> None:
    """`launch` products with a weight [m, k] of these values; against float64, in memory that is NaN around X and Y.

    A second launch finds counters as the first left them.
    """
    (m, k), generator = values.shape, np.random.default_rng(seed)
    padded = -(-k // 8) * 8  # as `matmul` does it
    x = Guarded.of(np.pad(random_halves(generator, (1, 1, tokens, k), dtype), [(0, 0)] * 3 + [(0, padded - k)]), 8)
    y = Guarded.of(np.full((1, 1, tokens, m), np.nan, NUMPY[dtype]), 8)
    more = Guarded.of(random_halves(generator, (1, 1, tokens, m), dtype), 8)
    bias = generator.standard_normal(m).astype(np.float32)
    added = (more.place.address, more.place.stride) if residual else ()
    results = Results(y.place.address, y.place.stride, m, bias.ctypes.data, RELU, *added)
    for _ in range(launches):
        launch(Rows(x.place.address, x.place.stride, tokens, padded), results)
    wide_x, wide_w = x.values[0, 0, :, :k].astype(np.float64), values.astype(np.float64).T
    expected = np.maximum(wide_x @ wide_w + bias, 0) + residual * more.values[0, 0].astype(np.float64)
    error = np.abs(y.values[0, 0].astype(np.float64) - expected)
    assert (error <= rounding_bound(expected, np.abs(wide_x) @ np.abs(wide_w), k, dtype)).all()


def check_product_of_blocks(
    make: Callable[[Any, str, Any], tuple[Any, Any]],
    sizes: tuple[int, int, int],
    density: float,
    workers: int,
    residual: bool,
    seed: int,
    macros: dict[str, int],
) -> None:
    """A product of m, k and tokens with so many blocks of 32x32, by what `make` makes of a weight's bits, their type and a GPU with
    so many multiprocessors, and a tiling; the kernel is compiled with these macros, too."""
    (m, k, tokens), dtype, generator = sizes, ("float16", "bfloat16")[seed % 2], np.random.default_rng(seed)
    kept = blocks(m, k, 32, density, seed) != 0
    values = (generator.standard_normal((m, k)) * kept).astype(NUMPY[dtype])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            block_weight,
            "function",
            lambda on, kernel, own, size: emulated_function(on, kernel, {**own, **macros}, size),
        )
        weight, tiling = make(values.view(np.uint16), dtype, EmulatedDevice(workers))
        check_product(
            lambda x, y: weight.launch(x, y, 0, tiling), values, tokens, dtype, seed, residual=residual, launches=1
        )
