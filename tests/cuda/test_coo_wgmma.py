"""Products with bank streams on Hopper: the kernel compiles without a GPU; on one they are right, as in `test_matmul`."""

from __future__ import annotations

import numpy as np
import pytest
from test_matmul import NUMPY, SHAPES, check, weight_values

from sparsec.cuda.code import program
from sparsec.cuda.device.driver import Device
from sparsec.cuda.products.coo_wgmma import ARCHITECTURE, DEPTH, PLACES, TOKENS, CooWgmma
from sparsec.cuda.streams.bank_streams import SCATTERERS, SIDE, TILES, BankStreams


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("main", [2, 12, 26])
def test_the_kernel_compiles(tokens: int, main: int) -> None:
    macros = {"ROWS": TILES * SIDE, "SCATTERERS": SCATTERERS, "DEPTH": DEPTH, "PLACES": PLACES[0], "TOKENS": tokens}
    macros |= {"BF16": 1, "ACTIVATION": 2, "MAIN": main, "LEAST": 1, "ROUNDS": 5}
    assert program.compiled("coo_wgmma", macros, ARCHITECTURE).startswith(b"\x7fELF")


@pytest.mark.parametrize("dtype", NUMPY)
@pytest.mark.parametrize(("m", "k"), SHAPES)
@pytest.mark.parametrize("workers", [3, 132])
def test_products_are_right(gpu: Device, dtype: str, m: int, k: int, workers: int) -> None:
    if gpu.architecture != ARCHITECTURE:
        pytest.skip("for compute capability 9.0 only")
    values = weight_values("unstructured", m, k, 0.1, dtype, m + k)
    streams = BankStreams.encode(values.view(np.uint16), workers)
    if not streams.even:
        return  # a single nonzero in a matrix of one element
    weight = CooWgmma(streams, dtype, gpu)
    for tokens in (1, 9, 31, 64, 130):
        check(
            weight,
            values,
            tokens,
            tokens,
            bias=tokens % 2 == 0,
            activation="gelu" if tokens == 9 else None,
            residual=tokens % 3 == 0,
        )
