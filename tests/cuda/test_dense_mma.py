"""Dense products are right: emulated on a CPU, and on a GPU where there is one, against float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from emulation import COMPILER, EmulatedDevice, emulated_function
from halves import NUMPY, Guarded, random_halves, rounding_bound
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsec.cuda.code import program
from sparsec.cuda.products import dense_mma
from sparsec.cuda.products.dense_mma import DenseSizes, TileShape, best_shape, shapes
from sparsec.cuda.products.dense_operands import Epilogue, Matrices

SMALL = TileShape(64, 64, 2, 2, 3)
KINDS = [  # of kernels: tile, X and W transposed, what strides are multiples of, activation
    (SMALL, False, False, 8, 3),
    (SMALL, True, False, 8, 0),
    (SMALL, False, True, 1, 0),
    (TileShape(32, 64, 1, 4, 4), True, True, 8, 1),
    (TileShape(128, 64, 2, 2, 2), False, True, 8, 1),
]


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> EmulatedDevice:
    if COMPILER is None:
        pytest.skip("needs g++")
    monkeypatch.setattr(program, "function", emulated_function)
    return EmulatedDevice()


def reference(x: Any, w: Any, bias: Any, residual: Any, epilogue: Epilogue) -> NDArray[np.float64]:
    """In float64, of [..., tokens, k] and [..., m, k]."""
    sums = epilogue.scale * (x.astype(np.float64) @ w.astype(np.float64).swapaxes(-1, -2))
    value = sums + (0 if bias is None else bias)
    if epilogue.residual_first:
        value = value + residual.astype(np.float64)
    if epilogue.activation == 1:
        value = np.maximum(value, 0)
    elif epilogue.activation == 3:
        value = value / (1 + np.exp(-value))
    return value if residual is None or epilogue.residual_first else value + residual.astype(np.float64)


@pytest.mark.parametrize(("x_transposed", "w_transposed"), [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("stride_of", [8, 1])
def test_products_are_right_emulated(
    emulated: EmulatedDevice, x_transposed: bool, w_transposed: bool, stride_of: int
) -> None:
    check(emulated, "bfloat16", DenseSizes(70, 90, 150, 2, 2), SMALL, x_transposed, w_transposed, stride_of, Epilogue())


@settings(max_examples=25)
@given(
    st.sampled_from(KINDS),
    st.tuples(st.integers(1, 140), st.integers(1, 140), st.integers(0, 200)),
    st.booleans(),
    st.integers(0, 1 << 30),
)
def test_any_size_is_right_emulated(
    kind: tuple[TileShape, bool, bool, int, int], sizes: tuple[int, int, int], first: bool, seed: int
) -> None:
    shape, x_transposed, w_transposed, stride_of, activation = kind
    if COMPILER is None:
        pytest.skip("needs g++")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "function", emulated_function)
        epilogue = Epilogue(bias=1, activation=activation, residual_first=first, scale=0.5)
        check(
            EmulatedDevice(),
            "float16",
            DenseSizes(*sizes),
            shape,
            x_transposed,
            w_transposed,
            stride_of,
            epilogue,
            seed,
        )


def check(
    on: EmulatedDevice,
    dtype: str,
    sizes: DenseSizes,
    shape: TileShape,
    x_transposed: bool,
    w_transposed: bool,
    stride_of: int,
    epilogue: Epilogue,
    seed: int = 0,
) -> None:
    """Random operands among NaN, strides that are multiples of `stride_of`; a bias and a residual where there is a bias."""
    generator = np.random.default_rng(seed)
    batch = (sizes.outer, sizes.inner)
    values = [
        random_halves(generator, (*batch, *each), dtype) for each in ((sizes.tokens, sizes.k), (sizes.m, sizes.k))
    ]
    x, w = (
        Guarded.of(each, stride_of, transposed=transposed)
        for each, transposed in zip(values, (x_transposed, w_transposed), strict=True)
    )
    y = Guarded.of(np.full((*batch, sizes.tokens, sizes.m), np.nan, NUMPY[dtype]), stride_of)
    bias = residual = None
    if epilogue.bias:
        bias = generator.standard_normal(sizes.m).astype(np.float32)
        residual = Guarded.of(random_halves(generator, y.values.shape, dtype), stride_of)
        epilogue = replace(epilogue, bias=bias.ctypes.data, residual=residual.place)
    before = y.space.copy()
    dense_mma.launch(on, dtype, sizes, x.place, w.place, y.place, 0, epilogue=epilogue, shape=shape)  # type: ignore[arg-type]
    expected = reference(*values, bias, residual and residual.values, epilogue)
    size = np.abs(values[0].astype(np.float64)) @ np.abs(values[1].astype(np.float64)).swapaxes(-1, -2)
    error = np.abs(y.values.astype(np.float64) - expected)
    assert (error <= rounding_bound(expected, size, sizes.k, dtype)).all()
    y.values[...] = np.nan
    assert (y.space == before).all()  # nothing beside it was written


def test_matrices_are_wide_where_all_of_a_batch_are() -> None:
    assert Matrices(64, 128, outer=256, inner=8).wide
    assert not any(each.wide for each in (Matrices(66, 128), Matrices(64, 130), Matrices(64, 128, inner=4)))


def test_a_shape_is_chosen_that_there_is_memory_for() -> None:
    large, few = DenseSizes(4096, 3072, 768), DenseSizes(40, 768, 768)
    older = EmulatedDevice(multiprocessors=108, shared_bytes=166912)
    hopper = EmulatedDevice(multiprocessors=132, shared_bytes=232448, architecture=(9, 0))
    for on in (older, hopper):
        assert best_shape(large, on).tokens >= 128  # type: ignore[arg-type]
        chosen = best_shape(few, on)  # type: ignore[arg-type]
        assert chosen.tokens * chosen.rows <= 8192
        assert chosen.wgmma == (on is hopper)
    assert all(
        each.shared_bytes(x_lines=True, w_lines=True) <= 101376 for each, _ in shapes(large, 84, 101376, hopper=False)
    )
