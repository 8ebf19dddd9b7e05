"""The dense linear layer against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from harness import assert_close, compile_layer, host_isas, reference, run, tolerance
from hypothesis import given, settings
from hypothesis import strategies as st
from tails import BIAS_RELU, LONG, PLAIN, TAILS, Tail
from torch_mlir import ir

from sparsec.formats.coo import Coo
from sparsec.kernels.epilogue import IDENTITY
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.linear_dense import LinearDense
from sparsec.kernels.problem import ConvProblem, LinearProblem

KERNEL = LinearDense()


def check(problem: LinearProblem, tail: Tail, isa: Isa, seed: int = 0, cuts: tuple[float, ...] = ()) -> None:
    random = np.random.default_rng(seed)
    x = random.standard_normal((problem.tokens, problem.inputs), dtype=np.float32)
    w = random.standard_normal((problem.outputs, problem.inputs), dtype=np.float32)
    operands = tail.operands(problem, random)
    y = run(KERNEL, problem, {"x": x, **operands}, w, tail.epilogue, isa, cuts)
    total, scale = reference(problem, {"x": x}, w)
    assert_close(y, tail.apply(total, operands), tolerance(np.float32, problem.inputs, scale + 4))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 40),
    st.integers(0, 70),
    st.integers(0, 150),
    st.sampled_from(TAILS),
    st.sampled_from(host_isas()),
    st.lists(st.floats(0, 1), max_size=3),
)
def test_agrees_with_numpy(tokens: int, inputs: int, outputs: int, tail: Tail, isa: Isa, cuts: list[float]) -> None:
    check(LinearProblem(tokens, inputs, outputs), tail, isa, cuts=tuple(cuts))


@pytest.mark.parametrize("isa", host_isas(), ids=lambda isa: isa.suffix)
@pytest.mark.parametrize("shape", [(128, 96, 144), (1, 300, 1000), (130, 33, 50), (7, 1, 1)])
@pytest.mark.parametrize("tail", [PLAIN, LONG])
def test_shapes_of_networks(shape: tuple[int, int, int], isa: Isa, tail: Tail) -> None:
    check(LinearProblem(*shape), tail, isa, cuts=(0.4,))


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
