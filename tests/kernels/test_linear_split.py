"""Sparse linear layers against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from harness import assert_close, host_isas, operand_shape, reference, run, tolerance
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsec.kernels import linear_split, row_groups
from sparsec.kernels.epilogue import Epilogue, EpilogueOperand, Reach
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.linear_split import LinearSplit
from sparsec.kernels.problem import ConvProblem, LinearProblem

KERNEL = LinearSplit()
TAIL = Epilogue(
    """func.func private @epilogue(%sum: f32, %bias: f32, %scale: f32, %residual: f32) -> f32 {
      %0 = arith.addf %sum, %bias : f32
      %1 = arith.mulf %0, %scale : f32
      %2 = arith.addf %1, %residual : f32
      return %2 : f32
    }""",
    tuple(EpilogueOperand(reach, "f32") for reach in (Reach.CHANNEL, Reach.SCALAR, Reach.FULL)),
)
sizes = st.one_of(st.integers(1, 20), st.integers(21, 150))
problems = st.builds(LinearProblem, sizes, sizes, sizes)


def random_layer(problem: LinearProblem, density: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(0)
    shape = (problem.outputs, problem.inputs)
    weight = np.where(random.random(shape) < density, random.standard_normal(shape), 0).astype(np.float32)
    return weight, random.standard_normal((problem.tokens, problem.inputs), dtype=np.float32)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems, st.sampled_from(host_isas()), st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_agrees_with_numpy(problem: LinearProblem, isa: Isa, density: float) -> None:
    weight, x = random_layer(problem, density)
    y = run(KERNEL, problem, {"x": x}, weight, isa=isa, cuts=(0.3, 0.6))
    expected, scale = reference(problem, {"x": x}, weight)
    assert_close(y, expected, tolerance(np.float32, problem.inputs, scale))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems, st.sampled_from(host_isas()), st.sampled_from([0.1, 0.6]), st.sampled_from([1, 24, 64]))
def test_blocks_of_inputs(problem: LinearProblem, isa: Isa, density: float, rows: int) -> None:
    weight, x = random_layer(problem, density)
    expected, scale = reference(problem, {"x": x}, weight)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_split, "BLOCK_BYTES", 1000)
        patch.setattr(row_groups, "GROUP_ROWS", rows)
        y = run(KERNEL, problem, {"x": x}, weight, isa=isa, cuts=(0.4,))
    assert_close(y, expected, tolerance(np.float32, problem.inputs, scale))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems, st.sampled_from(host_isas()))
def test_epilogue_operands_of_every_reach(problem: LinearProblem, isa: Isa) -> None:
    weight, x = random_layer(problem, 0.2)
    random = np.random.default_rng(1)
    tails = [random.standard_normal(operand_shape(o.reach, problem)).astype(np.float32) for o in TAIL.operands]
    inputs = {"x": x, **{f"epilogue.{i}": tail for i, tail in enumerate(tails)}}
    y = run(KERNEL, problem, inputs, weight, TAIL, isa, cuts=(0.5,))
    expected, scale = reference(problem, {"x": x}, weight)
    bias, factor, residual = tails
    allowed = tolerance(np.float32, problem.inputs + 3, (scale + np.abs(bias)) * np.abs(factor) + np.abs(residual))
    assert_close(y, (expected + bias) * factor + residual, allowed)


@pytest.mark.parametrize("isa", host_isas())
@pytest.mark.parametrize("tokens", [1, 2, 5, 16, 33])
def test_an_output_sees_only_its_own_nonzeros(isa: Isa, tokens: int) -> None:
    weight = np.zeros((40, 24), dtype=np.float32)
    for row in range(40):
        weight[row, : row % 24] = 3.0
    x = np.ones((tokens, 24), dtype=np.float32)
    x[:, 20] = np.inf
    y = run(KERNEL, LinearProblem(tokens, 24, 40), {"x": x}, weight, isa=isa)
    reads = np.arange(40) % 24 > 20
    assert np.isposinf(y[:, reads]).all()
    np.testing.assert_array_equal(y[:, ~reads], np.broadcast_to(3.0 * (np.arange(40) % 24), y.shape)[:, ~reads])


@pytest.mark.parametrize("isa", host_isas())
def test_wide_inputs(isa: Isa) -> None:
    problem = LinearProblem(70, 5000, 20)
    weight, x = random_layer(problem, 0.02)
    expected, scale = reference(problem, {"x": x}, weight)
    assert_close(run(KERNEL, problem, {"x": x}, weight, isa=isa), expected, tolerance(np.float32, 5000, scale))


def test_refuses_other_problems() -> None:
    assert KERNEL.refuses(ConvProblem(1, 1, 1, 1, ()), AVX512)
