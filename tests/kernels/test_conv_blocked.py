"""Convolution with row blocks against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from harness import host_isas, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layers import check_conv, convolutions, random_conv, square
from tails import TAILS, Tail

from sparsec.formats.coo import Coo
from sparsec.kernels.conv_blocked import ConvBlocked
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.problem import Axis, ConvProblem, LinearProblem

KERNEL = ConvBlocked()
problems = convolutions(33, 4)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(problems, st.sampled_from(host_isas()), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.sampled_from([1, 4, 8, 16]))
def test_agrees_with_numpy(problem: ConvProblem, isa: Isa, density: float, block: int) -> None:
    check_conv(KERNEL, problem, *random_conv(problem, density, block), isa)


@pytest.mark.parametrize("isa", host_isas())
@pytest.mark.parametrize("size", [1, 2, 3, 7, 14, 16, 20, 29, 56])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_usual_maps(isa: Isa, size: int, kernel: int) -> None:
    problem = ConvProblem(1, 6, 10, 1, square(size, kernel))
    check_conv(KERNEL, problem, *random_conv(problem, 0.3, 4), isa)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(problems, st.sampled_from(host_isas()), st.sampled_from(TAILS))
def test_epilogues(problem: ConvProblem, isa: Isa, tail: Tail) -> None:
    check_conv(KERNEL, problem, *random_conv(problem, 0.3, 4), isa, tail)


@pytest.mark.parametrize("isa", host_isas())
def test_a_row_sees_only_the_blocks_of_its_rows(isa: Isa) -> None:
    problem = ConvProblem(1, 4, 32, 1, (Axis(14, 1), Axis(14, 1)))
    weight = np.zeros((32, 4, 1, 1), dtype=np.float32)
    for row in range(32):
        weight[row, : row // 8] = 3.0
    _, x = random_conv(problem, 0.0, 4)
    x[0, 1], x[0, 2] = np.inf, np.nan
    y = run(KERNEL, problem, {"x": x}, weight, isa=isa)
    assert (y[0, :8] == 0).all()
    assert np.isfinite(y[0, 8:16]).all()
    assert np.isposinf(y[0, 16:24]).all()
    assert np.isnan(y[0, 24:]).all()


def test_a_sparse_weight_is_never_made_dense() -> None:
    problem = ConvProblem(1, 8, 8, 1, (Axis(9, 1), Axis(9, 1)))
    weight, x = random_conv(problem, 0.2, 4)
    np.testing.assert_array_equal(
        run(KERNEL, problem, {"x": x}, Coo.from_dense(weight)), run(KERNEL, problem, {"x": x}, weight)
    )


def test_refuses_other_problems() -> None:
    assert KERNEL.refuses(LinearProblem(4, 4, 4), AVX512)
    assert KERNEL.refuses(ConvProblem(1, 4, 4, 2, (Axis(9, 3),)), AVX512)
    assert KERNEL.refuses(ConvProblem(1, 4, 4, 1, (Axis(9, 3),)), AVX512) is None
