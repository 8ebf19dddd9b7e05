"""Products with a dense weight are right whatever kernel does them, emulated on a CPU."""

from __future__ import annotations

import numpy as np
import pytest
from emulation import COMPILER, EmulatedDevice, emulated_function
from halves import NUMPY, Guarded, random_halves, rounding_bound
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsec.cuda.code import program
from sparsec.cuda.products import cublas
from sparsec.cuda.products.cublas import LtProduct
from sparsec.cuda.products.dense import DenseWeight
from sparsec.cuda.products.dense_few import few_tiling
from sparsec.cuda.products.dense_operands import Epilogue, Matrices
from sparsec.cuda.products.dense_wgmma import best_tiling, tilings
from sparsec.cuda.products.operands import Rows


@settings(max_examples=30)
@given(
    st.one_of(st.integers(1, 17), st.integers(18, 70)),
    st.integers(1, 100),
    st.one_of(st.integers(1, 400), st.integers(1, 300).map(lambda each: 8 * each)),
    st.sampled_from([1, 8]),
    st.integers(1, 8),
    st.integers(0, 1 << 30),
)
def test_products_are_right_emulated(tokens: int, m: int, k: int, stride_of: int, workers: int, seed: int) -> None:
    if COMPILER is None:
        pytest.skip("needs g++")
    generator = np.random.default_rng(seed)
    dtype = ("float16", "bfloat16")[seed % 2]
    w = random_halves(generator, (m, k), dtype)
    x = Guarded.of(random_halves(generator, (1, 1, tokens, k), dtype), stride_of)
    y = Guarded.of(np.full((1, 1, tokens, m), np.nan, NUMPY[dtype]), stride_of)
    residual = Guarded.of(random_halves(generator, (1, 1, tokens, m), dtype), stride_of)
    bias = generator.standard_normal(m).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "function", emulated_function)
        weight = DenseWeight(w.view(np.uint16), dtype, EmulatedDevice(multiprocessors=workers))  # type: ignore[arg-type]
        rows = Rows(x.place.address, x.place.stride, tokens, k)
        epilogue = Epilogue(bias.ctypes.data, 1, residual.place)
        for _ in range(2):  # the second finds counters as the first left them
            weight.launch(rows, y.place, 0, epilogue=epilogue)
    wide_x, wide_w = x.values[0, 0].astype(np.float64), w.astype(np.float64).T
    expected = np.maximum(wide_x @ wide_w + bias, 0) + residual.values[0, 0].astype(np.float64)
    error = np.abs(y.values[0, 0].astype(np.float64) - expected)
    assert (error <= rounding_bound(expected, np.abs(wide_x) @ np.abs(wide_w), k, dtype)).all()


def test_kernels_are_chosen_by_tokens_alignment_and_architecture() -> None:
    hopper, older = EmulatedDevice(architecture=(9, 0)), EmulatedDevice(architecture=(8, 9))
    bits = np.zeros((16, 64), np.uint16)
    on_hopper, on_older = DenseWeight(bits, "float16", hopper), DenseWeight(bits, "float16", older)  # type: ignore[arg-type]
    y = Matrices(64, 16)
    assert on_hopper.kernels(Rows(64, 64, 8, 64), y) == ("dense_few", "dense_wgmma", "dense_mma")
    assert on_hopper.kernels(Rows(64, 64, 800, 64), y) == ("dense_wgmma", "dense_mma")
    assert on_hopper.kernels(Rows(66, 64, 800, 64), y) == ("dense_mma",)
    assert on_older.kernels(Rows(64, 64, 800, 64), y) == ("dense_mma",)


class Library:
    """Has products without a residual; keeps those that it is asked for."""

    def __init__(self) -> None:
        self.launched: list[object] = []

    def has(self, product: LtProduct) -> bool:
        return product.residual_stride == product.y_stride

    def launch(self, product: LtProduct, *addresses: int, residual: int, workspace: int) -> None:
        self.launched.append((product.relu, addresses, residual))


def test_cublas_is_a_candidate_where_it_does_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(cublas, "of", lambda _: library)
    weight = DenseWeight(np.zeros((16, 64), np.uint16), "float16", EmulatedDevice())  # type: ignore[arg-type]
    few, many, y = Rows(64, 64, 8, 64), Rows(64, 64, 800, 64), Matrices(128, 16)
    assert weight.kernels(few, y) == ("dense_few", "cublas", "dense_mma")
    assert weight.kernels(many, y) == ("cublas", "dense_mma")
    residual = Matrices(256, 16)
    for possible in (
        Epilogue(activation=1),
        Epilogue(residual=residual),
        Epilogue(0, 1, residual, residual_first=True),
    ):
        assert weight.kernels(many, y, possible)[0] == "cublas"
    for impossible in (Epilogue(bias=64), Epilogue(activation=2), Epilogue(0, 1, residual), Epilogue(scale=2.0)):
        assert weight.kernels(many, y, impossible) == ("dense_mma",)
    assert weight.kernels(many, y, Epilogue(residual=Matrices(256, 24))) == ("dense_mma",)  # cuBLAS says so
    for apart in (Matrices(136, 16), Matrices(130, 16)):
        assert weight.kernels(many, apart) == ("dense_mma",)
    assert weight.kernels(many, y, Epilogue(residual=Matrices(264, 16))) == ("dense_mma",)
    weight.launch(many, y, 3, epilogue=Epilogue(residual=residual))
    assert library.launched == [(False, (64, weight.rows.address, 128, 3), 256)]


def test_few_tokens_are_for_all_multiprocessors() -> None:
    assert few_tiling(1, 768, 3072, 132).parts > 1
    assert few_tiling(8, 28672, 8192, 132).parts == 1
    assert few_tiling(1, 16, 64, 132).parts == 1  # less than a warp's turn


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 5000))
def test_tilings_for_many_tokens_fit(tokens: int, m: int, k: int) -> None:
    assert all(each.stages >= 3 and each.shared_bytes <= 232448 for each, _ in tilings(tokens, m, k, 132, 232448))
    assert best_tiling(tokens, m, k, 132, 232448)[1] > 0
