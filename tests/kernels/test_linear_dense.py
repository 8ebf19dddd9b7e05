"""The dense linear layer against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from expected import allowed_error, assert_close, reference, tolerance
from harness import Variant, compile_layer, host_isas, run, variants
from hypothesis import given, settings
from hypothesis import strategies as st
from tails import BIAS_RELU, Tail, tails_of
from torch_mlir import ir

from sparsec.formats.coo import Coo
from sparsec.kernels.arithmetic import BF16, F32, U8S8
from sparsec.kernels.epilogue import IDENTITY, identity
from sparsec.kernels.isa import AVX2, AVX512
from sparsec.kernels.linear_dense import LinearDense
from sparsec.kernels.problem import ConvProblem, LinearProblem

KERNEL = LinearDense()
VARIANTS = variants(F32, BF16, U8S8)


def check(shape: tuple[int, int, int], variant: Variant, tail: Tail, cuts: tuple[float, ...] = ()) -> None:
    problem, random = LinearProblem(*shape, variant.arithmetic), np.random.default_rng(0)
    x = variant.activations((problem.tokens, problem.inputs), random)
    w = variant.weights((problem.outputs, problem.inputs), random)
    operands = tail.operands(problem, random)
    kernel = LinearDense(variant.arithmetic)
    y = run(kernel, problem, {"x": x, **operands}, w, tail.epilogue, variant.isa, cuts)
    total, scale = reference(problem, {"x": variant.exact(x)}, variant.exact(w))
    assert_close(y, tail.apply(total, operands), allowed_error(variant.arithmetic, problem.inputs, scale + 4))


@settings(max_examples=120)
@given(
    st.integers(0, 40),
    st.integers(0, 70),
    st.integers(0, 150),
    st.sampled_from([(variant, tail) for variant in VARIANTS for tail in tails_of(variant.arithmetic)]),
    st.lists(st.floats(0, 1), max_size=3),
)
def test_agrees_with_numpy(
    tokens: int, inputs: int, outputs: int, variant: tuple[Variant, Tail], cuts: list[float]
) -> None:
    check((tokens, inputs, outputs), *variant, cuts=tuple(cuts))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("shape", [(128, 96, 144), (1, 300, 1000), (130, 33, 50), (7, 1, 1)])
@pytest.mark.parametrize("tail", [0, -1])
def test_shapes_of_networks(shape: tuple[int, int, int], variant: Variant, tail: int) -> None:
    check(shape, variant, tails_of(variant.arithmetic)[tail], cuts=(0.4,))


@pytest.mark.parametrize("variant", variants(U8S8), ids=str)
def test_the_largest_sums_are_exact(variant: Variant) -> None:
    problem, kernel = LinearProblem(3, 66000, 2, U8S8), LinearDense(U8S8)
    x, w = np.full((3, 66000), 255, np.uint8), np.full((2, 66000), -128, np.int8)
    w[1] = 127
    x[:, 65000:] = 0
    y = run(kernel, problem, {"x": x}, w, identity("i32"), variant.isa)
    np.testing.assert_array_equal(y, [[-128 * 255 * 65000, 127 * 255 * 65000]] * 3)


def test_nan_and_infinity_stay_in_their_row() -> None:
    problem = LinearProblem(19, 12, 21)
    x = np.ones((19, 12), dtype=np.float32)
    x[3, 5], x[4, 0], x[18, 11] = np.nan, np.inf, -np.inf
    w = np.random.default_rng(0).standard_normal((21, 12)).astype(np.float32)
    for isa in host_isas():
        y = run(KERNEL, problem, {"x": x}, w, isa=isa)
        total, scale = reference(problem, {"x": x}, w)
        assert_close(y, total, tolerance(np.float32, 12, np.nan_to_num(scale, posinf=0)))


def test_a_coordinate_weight_gives_the_same() -> None:
    problem = LinearProblem(5, 20, 30)
    random = np.random.default_rng(0)
    x, w = (random.standard_normal(shape).astype(np.float32) for shape in ((5, 20), (30, 20)))
    w[random.random(w.shape) < 0.7] = 0
    np.testing.assert_array_equal(run(KERNEL, problem, {"x": x}, w), run(KERNEL, problem, {"x": x}, Coo.from_dense(w)))


def test_splitting_units_changes_no_bit() -> None:
    problem = LinearProblem(37, 40, 100)
    random = np.random.default_rng(0)
    inputs = {"x": random.standard_normal((37, 40), dtype=np.float32), **BIAS_RELU.operands(problem, random)}
    w = random.standard_normal((100, 40), dtype=np.float32)
    layer = compile_layer(KERNEL, problem, w, BIAS_RELU.epilogue)
    extent = layer.lowered.calls[0].extent
    whole = layer.run(inputs)
    np.testing.assert_array_equal(whole, layer.run(inputs, [i / extent for i in range(extent)]))


def test_one_function_for_equal_layers() -> None:
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        for seed in range(2):
            w = np.full((48, 8), seed, dtype=np.float32)
            KERNEL.lower(module, LinearProblem(16, 8, 48), w, IDENTITY, AVX512)
        assert len(list(module.body)) == 1


def test_refuses_other_layers() -> None:
    assert KERNEL.refuses(ConvProblem(1, 1, 1, 1, ()), AVX512)
    assert KERNEL.refuses(LinearProblem(1, 1, 1), AVX512) is None
    assert KERNEL.refuses(LinearProblem(1, 1, 1, BF16), AVX512)
    assert "no instruction" in str(LinearDense(BF16).refuses(LinearProblem(1, 1, 1, BF16), AVX512))
    assert LinearDense(U8S8).refuses(LinearProblem(1, 1, 1, U8S8), AVX2) is None
