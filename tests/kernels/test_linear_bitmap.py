"""Linear layers of a few tokens with bitmap weights against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from harness import assert_close, host_isas, operand_shape, reference, run, tolerance
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsec.kernels.epilogue import Epilogue, EpilogueOperand, Reach
from sparsec.kernels.isa import AVX2, AVX512, Isa
from sparsec.kernels.linear_bitmap import MOST_TOKENS, LinearBitmap
from sparsec.kernels.problem import ConvProblem, LinearProblem

KERNEL = LinearBitmap()
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
problems = st.builds(LinearProblem, st.integers(1, MOST_TOKENS), sizes, sizes)
ISAS = [isa for isa in host_isas() if isa.masks]
pytestmark = pytest.mark.skipif(not ISAS, reason="this machine expands no vectors under masks")


def random_layer(problem: LinearProblem, density: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(0)
    shape = (problem.outputs, problem.inputs)
    weight = np.where(random.random(shape) < density, random.standard_normal(shape), 0).astype(np.float32)
    return weight, random.standard_normal((problem.tokens, problem.inputs), dtype=np.float32)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems, st.sampled_from(ISAS or [AVX512]), st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_agrees_with_numpy(problem: LinearProblem, isa: Isa, density: float) -> None:
    weight, x = random_layer(problem, density)
    y = run(KERNEL, problem, {"x": x}, weight, isa=isa, cuts=(0.3, 0.6))
    expected, scale = reference(problem, {"x": x}, weight)
    assert_close(y, expected, tolerance(np.float32, problem.inputs, scale))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems, st.sampled_from(ISAS or [AVX512]))
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


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("tokens", [1, 2, 4])
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


def test_rows_that_do_not_fill_a_group() -> None:
    for outputs in (1, 2, 3, 5):
        problem = LinearProblem(1, 37, outputs)
        weight, x = random_layer(problem, 0.4)
        expected, scale = reference(problem, {"x": x}, weight)
        assert_close(run(KERNEL, problem, {"x": x}, weight), expected, tolerance(np.float32, 37, scale))


def test_refuses_other_problems() -> None:
    assert KERNEL.refuses(ConvProblem(1, 1, 1, 1, ()), AVX512)
    assert KERNEL.refuses(LinearProblem(MOST_TOKENS + 1, 4, 4), AVX512)
    assert KERNEL.refuses(LinearProblem(1, 4, 4), AVX2)
    assert KERNEL.refuses(LinearProblem(1, 4, 4), AVX512) is None
