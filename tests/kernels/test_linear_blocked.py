"""Linear layers with row blocks against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from harness import assert_close, compile_layer, host_isas, operand_shape, reference, run, tolerance
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsec.kernels import linear_blocked, linear_rows
from sparsec.kernels.epilogue import Epilogue, EpilogueOperand, Reach
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.linear_blocked import LinearBlocked
from sparsec.kernels.problem import ConvProblem, LinearProblem

KERNEL = LinearBlocked()
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
problems = st.builds(LinearProblem, sizes.filter(lambda tokens: tokens > 1), sizes, sizes)
blocks = st.sampled_from([(1, 1), (4, 1), (8, 1), (16, 1), (4, 4), (16, 16)])


def random_layer(
    problem: LinearProblem, density: float, block: tuple[int, int] = (4, 1)
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(0)
    down, across = -(-problem.outputs // block[0]), -(-problem.inputs // block[1])
    kept = np.kron(random.random((down, across)) < density, np.ones(block, dtype=bool))
    kept = kept[: problem.outputs, : problem.inputs]
    weight = np.where(kept, random.standard_normal(kept.shape), 0).astype(np.float32)
    return weight, random.standard_normal((problem.tokens, problem.inputs), dtype=np.float32)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems, st.sampled_from(host_isas()), st.sampled_from([0.0, 0.05, 0.5, 1.0]), blocks)
def test_agrees_with_numpy(problem: LinearProblem, isa: Isa, density: float, block: tuple[int, int]) -> None:
    weight, x = random_layer(problem, density, block)
    y = run(KERNEL, problem, {"x": x}, weight, isa=isa, cuts=(0.3, 0.6))
    expected, scale = reference(problem, {"x": x}, weight)
    assert_close(y, expected, tolerance(np.float32, problem.inputs, scale))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems, st.sampled_from(host_isas()), st.sampled_from([0.1, 0.6]), st.sampled_from([1, 24, 64]))
def test_inputs_beyond_the_cache(problem: LinearProblem, isa: Isa, density: float, rows: int) -> None:
    """Sums that are held from one block of columns to the next."""
    weight, x = random_layer(problem, density)
    expected, scale = reference(problem, {"x": x}, weight)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_blocked, "L2_BYTES", 1000)
        patch.setattr(linear_rows, "GROUP_ROWS", rows)
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
@pytest.mark.parametrize("outputs", [1024, 2048])
def test_outputs_that_share_a_cache_set(isa: Isa, outputs: int) -> None:
    problem = LinearProblem(20, 30, outputs)
    weight, x = random_layer(problem, 0.2)
    expected, scale = reference(problem, {"x": x}, weight)
    assert_close(run(KERNEL, problem, {"x": x}, weight, isa=isa), expected, tolerance(np.float32, 30, scale))


@pytest.mark.parametrize("isa", host_isas())
@pytest.mark.parametrize("tokens", [2, 5, 16, 33])
def test_an_output_sees_only_the_blocks_of_its_rows(isa: Isa, tokens: int) -> None:
    weight = np.zeros((40, 24), dtype=np.float32)
    for row in range(40):
        weight[row, : row // 8 * 5] = 3.0
    x = np.ones((tokens, 24), dtype=np.float32)
    x[:, 17] = np.inf
    x[:, 18] = np.nan
    y = run(KERNEL, LinearProblem(tokens, 24, 40), {"x": x}, weight, isa=isa)
    np.testing.assert_array_equal(y[:, :32], np.broadcast_to(np.arange(32) // 8 * 15.0, (tokens, 32)))
    assert np.isnan(y[:, 32:]).all()


@pytest.mark.parametrize(("pattern", "height"), [(4, 4), (8, 8), (16, 8)])
def test_the_height_of_the_blocks_follows_the_weight(pattern: int, height: int) -> None:
    problem = LinearProblem(96, 64, 128)
    weight, _ = random_layer(problem, 0.2, (pattern, 1))
    lowered = compile_layer(KERNEL, problem, weight).lowered
    assert f"_blocked_{height}x" in lowered.calls[-1].function


def test_refuses_other_problems() -> None:
    assert KERNEL.refuses(ConvProblem(1, 1, 1, 1, ()), AVX512)
    assert KERNEL.refuses(LinearProblem(1, 4, 4), AVX512)
    assert KERNEL.refuses(LinearProblem(2, 4, 4), AVX512) is None
