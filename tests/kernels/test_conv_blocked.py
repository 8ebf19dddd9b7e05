"""Convolution with row blocks against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from harness import (
    assert_close,
    host_isas,
    operand_shape,
    reference,
    run,
    tolerance,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import TAIL, axes

from sparsec.formats.coo import Coo
from sparsec.kernels.conv_blocked import ConvBlocked
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.problem import Axis, ConvProblem, LinearProblem

KERNEL = ConvBlocked()


@st.composite
def problems(draw: st.DrawFn) -> ConvProblem:
    rank = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    shape = tuple(draw(axes((300, 30, 10)[rank - 1])) for _ in range(rank))
    if draw(st.booleans()):
        shape = tuple(Axis(axis.size, 1) for axis in shape)
    batch, channels, filters = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 33))
    filters = filters if groups == 1 else -(-filters // 4) * 4
    return ConvProblem(batch, groups * channels, groups * filters, groups, shape)


def random_layer(
    problem: ConvProblem, density: float, block: int = 4, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    shape = (problem.filters, problem.channels // problem.groups, *(axis.kernel for axis in problem.axes))
    kept = np.repeat(random.random((-(-shape[0] // block), *shape[1:])) < density, block, axis=0)[: shape[0]]
    weight = np.where(kept, random.standard_normal(shape), 0).astype(np.float32)
    x = random.standard_normal(
        (problem.batch, problem.channels, *(axis.size for axis in problem.axes)), dtype=np.float32
    )
    return weight, x


def check(problem: ConvProblem, weight: NDArray[np.float32], x: NDArray[np.float32], isa: Isa) -> None:
    y = run(KERNEL, problem, {"x": x}, weight, isa=isa, cuts=(0.35, 0.7))
    expected, scale = reference(problem, {"x": x}, weight)
    assert_close(y, expected, tolerance(np.float32, problem.reduction, scale))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems(), st.sampled_from(host_isas()), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.sampled_from([1, 4, 8, 16]))
def test_agrees_with_numpy(problem: ConvProblem, isa: Isa, density: float, block: int) -> None:
    check(problem, *random_layer(problem, density, block), isa)


@pytest.mark.parametrize("isa", host_isas())
@pytest.mark.parametrize("size", [1, 2, 3, 7, 14, 16, 20, 29, 56])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_usual_maps(isa: Isa, size: int, kernel: int) -> None:
    axis = Axis(size, kernel, 1, 1, kernel // 2, kernel // 2)
    problem = ConvProblem(1, 6, 10, 1, (axis, axis))
    check(problem, *random_layer(problem, 0.3), isa)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems(), st.sampled_from(host_isas()))
def test_epilogue_operands_of_every_reach(problem: ConvProblem, isa: Isa) -> None:
    weight, x = random_layer(problem, 0.3)
    random = np.random.default_rng(1)
    tails = [random.standard_normal(operand_shape(o.reach, problem)).astype(np.float32) for o in TAIL.operands]
    inputs = {"x": x, **{f"epilogue.{i}": tail for i, tail in enumerate(tails)}}
    y = run(KERNEL, problem, inputs, weight, TAIL, isa, cuts=(0.5,))
    expected, scale = reference(problem, {"x": x}, weight)
    bias, factor, residual = tails
    allowed = tolerance(np.float32, problem.reduction + 3, (scale + np.abs(bias)) * np.abs(factor) + np.abs(residual))
    assert_close(y, np.maximum((expected + bias) * factor + residual, 0), allowed)


@pytest.mark.parametrize("isa", host_isas())
def test_a_row_sees_only_the_blocks_of_its_rows(isa: Isa) -> None:
    problem = ConvProblem(1, 4, 32, 1, (Axis(14, 1), Axis(14, 1)))
    weight = np.zeros((32, 4, 1, 1), dtype=np.float32)
    for row in range(32):
        weight[row, : row // 8] = 3.0
    _, x = random_layer(problem, 0.0)
    x[0, 1], x[0, 2] = np.inf, np.nan
    y = run(KERNEL, problem, {"x": x}, weight, isa=isa)
    assert (y[0, :8] == 0).all()
    assert np.isfinite(y[0, 8:16]).all()
    assert np.isposinf(y[0, 16:24]).all()
    assert np.isnan(y[0, 24:]).all()


def test_a_sparse_weight_is_never_made_dense() -> None:
    problem = ConvProblem(1, 8, 8, 1, (Axis(9, 1), Axis(9, 1)))
    weight, x = random_layer(problem, 0.2)
    np.testing.assert_array_equal(
        run(KERNEL, problem, {"x": x}, Coo.from_dense(weight)), run(KERNEL, problem, {"x": x}, weight)
    )


def test_refuses_other_problems() -> None:
    assert KERNEL.refuses(LinearProblem(4, 4, 4), AVX512)
    assert KERNEL.refuses(ConvProblem(1, 4, 4, 2, (Axis(9, 3),)), AVX512)
    assert KERNEL.refuses(ConvProblem(1, 4, 4, 1, (Axis(9, 3),)), AVX512) is None
