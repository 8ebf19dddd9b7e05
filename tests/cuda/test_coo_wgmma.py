"""Products with bank streams on Hopper are right: emulated on a CPU, and on a GPU as in `test_matmul`; the kernel compiles."""

from __future__ import annotations

import numpy as np
import pytest
from emulated_product import check_product
from emulation import COMPILER, EmulatedDevice, emulated_function
from test_matmul import NUMPY, SHAPES, check, weight_values

from sparsec.cuda.code import program
from sparsec.cuda.device.driver import Device
from sparsec.cuda.products import coo_wgmma
from sparsec.cuda.products.coo_wgmma import ARCHITECTURE, TOKENS, CooWgmma, kernel_macros, width
from sparsec.cuda.products.device_cost import HOPPER_SHARED_BYTES
from sparsec.cuda.streams.bank_streams import BankStreams


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("density", [0.0, 0.1, 0.2])
def test_the_kernel_compiles(tokens: int, density: float) -> None:
    values = weight_values("unstructured", 256, 256, density, "bfloat16", 0)
    streams = BankStreams.encode(values.view(np.uint16), 2)
    macros = kernel_macros(streams, width(streams, tokens, HOPPER_SHARED_BYTES))
    assert program.compiled("coo_wgmma", {**macros, "BF16": 1, "ACTIVATION": 2}, ARCHITECTURE).startswith(b"\x7fELF")


@pytest.mark.parametrize(
    ("m", "k", "density", "tokens", "workers", "dtype"),
    [
        (300, 700, 0.1, 9, 3, "float16"),  # a block of one worker, one of two
        (700, 1100, 0.05, 31, 7, "bfloat16"),
        (130, 2000, 0.2, 70, 2, "float16"),  # more tokens than one block of threads does
        (1, 900, 0.1, 16, 4, "bfloat16"),
        (256, 64, 0.0, 1, 5, "float16"),
    ],
)
def test_products_are_right_emulated(m: int, k: int, density: float, tokens: int, workers: int, dtype: str) -> None:
    if COMPILER is None:
        pytest.skip("needs g++")
    values = weight_values("unstructured", m, k, density, dtype, m + k)
    on = EmulatedDevice(workers, ARCHITECTURE, HOPPER_SHARED_BYTES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coo_wgmma, "function", emulated_function)
        weight = CooWgmma(BankStreams.encode(values.view(np.uint16), workers), dtype, on)  # type: ignore[arg-type]
        check_product(lambda x, y: weight.launch(x, y, 0), values, tokens, dtype, m + tokens)


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
