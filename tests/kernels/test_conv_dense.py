"""The dense convolution against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from expected import assert_close, reference, tolerance
from harness import host_isas, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tails import BIAS_RELU, LONG, PLAIN, RESIDUAL, TAILS, Tail

from sparsec.kernels.conv_dense import ConvDense, as_linear
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.problem import Axis, ConvProblem, LinearProblem

KERNEL = ConvDense()


@st.composite
def axes(draw: st.DrawFn, most: int) -> Axis:
    """Any axis with at least one output."""
    kernel, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    before, after = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    least = max(dilation * (kernel - 1) + 1 - before - after, 1)
    return Axis(draw(st.integers(least, max(most, least))), kernel, draw(st.integers(1, 4)), dilation, before, after)


@st.composite
def problems(draw: st.DrawFn) -> ConvProblem:
    rank = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    kinds = {
        "any": axes(40 // rank),
        "pointwise": st.builds(Axis, st.integers(1, 40 // rank), st.just(1)),
        "patches": st.builds(Axis, st.integers(12, 150 // rank), st.integers(8, 12), st.integers(8, 20)),
    }
    kind = kinds[draw(st.sampled_from(sorted(kinds)))]
    shape = [draw(kind) for _ in range(rank)]
    channels, filters = draw(st.integers(0, 6)), draw(st.sampled_from([0, 1, 3, 8, 16, 21, 32]))
    return ConvProblem(draw(st.integers(0, 2)), groups * channels, groups * filters, groups, tuple(shape))


def check(problem: ConvProblem, tail: Tail, isa: Isa, cuts: tuple[float, ...] = ()) -> None:
    random = np.random.default_rng(0)
    shape = (problem.filters, problem.channels // problem.groups, *(axis.kernel for axis in problem.axes))
    w = random.standard_normal(shape, dtype=np.float32)
    x = random.standard_normal((problem.batch, problem.channels, *(a.size for a in problem.axes)), dtype=np.float32)
    operands = tail.operands(problem, random)
    y = run(KERNEL, problem, {"x": x, **operands}, w, tail.epilogue, isa, cuts)
    total, scale = reference(problem, {"x": x}, w)
    assert_close(y, tail.apply(total, operands), tolerance(np.float32, problem.reduction, scale + 4))


def square(channels: int, filters: int, size: int, kernel: int = 1, stride: int = 1, padding: int = 0) -> ConvProblem:
    axis = Axis(size, kernel, stride, 1, padding, padding)
    return ConvProblem(1, channels, filters, 1, (axis, axis))


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(problems(), st.sampled_from(TAILS), st.sampled_from(host_isas()), st.lists(st.floats(0, 1), max_size=3))
def test_agrees_with_numpy(problem: ConvProblem, tail: Tail, isa: Isa, cuts: list[float]) -> None:
    check(problem, tail, isa, tuple(cuts))


@pytest.mark.parametrize("isa", host_isas(), ids=lambda isa: isa.suffix)
@pytest.mark.parametrize(
    ("problem", "tail"),
    [
        (square(24, 144, 28), BIAS_RELU),
        (square(96, 32, 7), BIAS_RELU),  # stored transposed: few pixels
        (square(96, 32, 7), LONG),
        (square(96, 32, 7), RESIDUAL),
        (square(3, 32, 64, 3, 2, 1), BIAS_RELU),
        (square(3, 16, 64, 16, 16), PLAIN),  # patches: the copy is a transposition
        (square(2, 3, 205, 11, 12), PLAIN),
        (square(32, 36, 32), BIAS_RELU),  # channels a page apart
        (square(2, 5, 200, 5, 3, 2), PLAIN),  # gathers whole vectors between the edges
        (square(16, 40, 14, 3, 1, 1), RESIDUAL),
        (square(20, 50, 1), LONG),
    ],
)
def test_layers_of_networks(problem: ConvProblem, tail: Tail, isa: Isa) -> None:
    check(problem, tail, isa, (0.4,))


def test_nan_reaches_only_the_windows_that_hold_it() -> None:
    problem = square(2, 18, 9, 3, 1, 1)
    x = np.ones((1, 2, 9, 9), dtype=np.float32)
    x[0, 1, 4, 4], x[0, 0, 0, 8] = np.nan, np.inf
    w = np.random.default_rng(0).standard_normal((18, 2, 3, 3)).astype(np.float32)
    for isa in host_isas():
        y = run(KERNEL, problem, {"x": x}, w, isa=isa)
        total, scale = reference(problem, {"x": x}, w)
        assert_close(y, total, tolerance(np.float32, 18, np.nan_to_num(scale, posinf=0)))


def test_a_window_as_large_as_the_image_is_a_linear_layer() -> None:
    problem = ConvProblem(2, 8, 20, 1, (Axis(7, 7), Axis(7, 7)))
    assert as_linear(problem) == LinearProblem(2, 8 * 49, 20)
    check(problem, BIAS_RELU, AVX512)


def test_refuses_other_layers() -> None:
    assert KERNEL.refuses(LinearProblem(1, 1, 1), AVX512)
    assert KERNEL.refuses(square(1, 1, 4, 3, 1, 1), AVX512) is None
