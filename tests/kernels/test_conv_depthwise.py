"""Depthwise convolution against float64 NumPy: planes on the stack, in bands, and packed by a call of their own."""

from __future__ import annotations

import numpy as np
import pytest
from expected import assert_close, operand_shape, reference, tolerance
from harness import host_isas, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layers import axes
from numpy.typing import NDArray

from sparsec.kernels import conv_depthwise
from sparsec.kernels.conv_depthwise import ConvDepthwise
from sparsec.kernels.epilogue import Epilogue, EpilogueOperand, Reach
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.problem import Axis, ConvProblem
from sparsec.kernels.tap_patterns import MOST_PATTERNS, Patterns

KERNEL = ConvDepthwise()
TAIL = Epilogue(
    """func.func private @epilogue(%sum: f32, %bias: f32, %residual: f32) -> f32 {
      %0 = arith.addf %sum, %bias : f32
      %1 = arith.addf %0, %residual : f32
      return %1 : f32
    }""",
    (EpilogueOperand(Reach.CHANNEL, "f32"), EpilogueOperand(Reach.FULL, "f32")),
)


@st.composite
def problems(draw: st.DrawFn) -> ConvProblem:
    rank = draw(st.integers(1, 3))
    channels = draw(st.integers(1, 4))
    shape = tuple(draw(axes((300, 40, 10)[rank - 1])) for _ in range(rank))
    return ConvProblem(draw(st.integers(1, 2)), channels, channels * draw(st.integers(1, 3)), channels, shape)


def random_layer(problem: ConvProblem) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Every third filter is empty."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((problem.filters, 1, *(a.kernel for a in problem.axes)), dtype=np.float32)
    weight[1::3] = 0
    shape = (problem.batch, problem.channels, *(axis.size for axis in problem.axes))
    return weight, random.standard_normal(shape, dtype=np.float32)


def patterned(problem: ConvProblem) -> NDArray[np.float32]:
    """Filters with one of two patterns of zeros, some without zeros, and some empty."""
    random, weight = np.random.default_rng(2), random_layer(problem)[0]
    library = [random.random(problem.taps) < 0.6, random.random(problem.taps) < 0.3, np.ones(problem.taps, np.bool_)]
    masks = np.array([library[random.integers(3)] for _ in range(problem.filters)])
    return weight * masks.reshape(weight.shape)


def check(problem: ConvProblem, isa: Isa, weight: NDArray[np.float32] | None = None) -> None:
    dense, x = random_layer(problem)
    weight = dense if weight is None else weight
    y = run(KERNEL, problem, {"x": x}, weight, isa=isa, cuts=(0.3, 0.8))
    expected, scale = reference(problem, {"x": x}, weight)
    assert_close(y, expected, tolerance(np.float32, problem.reduction, scale))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(problems(), st.sampled_from(host_isas()))
def test_agrees_with_numpy(problem: ConvProblem, isa: Isa) -> None:
    check(problem, isa)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    problems(),
    st.sampled_from(host_isas()),
    st.sampled_from([(0, 0), (300, 1 << 20), (900, 1 << 20), (1 << 20, 1 << 20)]),
)
def test_planes_in_bands_or_packed(problem: ConvProblem, isa: Isa, limits: tuple[int, int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_depthwise, "BAND_BYTES", limits[0])
        patch.setattr(conv_depthwise, "STACK_BYTES", limits[1])
        check(problem, isa)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(problems(), st.sampled_from(host_isas()))
def test_patterns_of_zeros(problem: ConvProblem, isa: Isa) -> None:
    check(problem, isa, patterned(problem))


@pytest.mark.parametrize("isa", host_isas())
def test_zeros_of_a_pattern_are_not_multiplied(isa: Isa) -> None:
    """Infinite numbers stay where nonzeros read them."""
    axis = Axis(9, 3, 1, 1, 1, 1)
    problem = ConvProblem(1, 6, 6, 6, (axis, axis))
    weight, x = random_layer(problem)
    weight[:] = 1
    weight[:, :, 0] = weight[:, :, 2] = 0  # one row of three is left
    x[:, :, 4] = np.inf
    y = run(KERNEL, problem, {"x": x}, weight, isa=isa)
    assert np.isinf(y[:, :, 4]).all()
    assert np.isfinite(np.delete(y, 4, axis=2)).all()


@settings(max_examples=200)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), st.integers(0, 1 << 20))
def test_every_channel_is_in_a_run_with_all_its_nonzeros(
    channels: int, count: int, library: int, density: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    masks = (random.random((library, count)) < density)[random.integers(0, library, channels)]
    found = Patterns.of(masks)
    assert sorted(found.order) == list(range(channels))
    assert [part.first for part in found.runs] == list(np.cumsum([0, *(part.channels for part in found.runs)]))[:-1]
    for part in found.runs:
        for channel in found.order[part.first : part.first + part.channels]:
            assert set(np.flatnonzero(masks[channel])) <= set(part.taps)
            assert masks[channel].any() == bool(part.taps)
    assert len({part.taps for part in found.runs}) == len(found.runs) <= MOST_PATTERNS + 2
    assert masks.sum() <= found.taps <= masks.size


def test_a_few_patterns_are_computed_without_any_zero() -> None:
    library = np.array([[1, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1]], np.bool_)
    masks = library[np.arange(32) % 3]
    assert Patterns.of(masks).taps == masks.sum()


@pytest.mark.parametrize("isa", host_isas())
def test_one_band_that_reads_padding(isa: Isa) -> None:
    """One output row whose band has rows that the input lacks: nothing outside x may be read."""
    axes = (Axis(3, 3, dilation=2, after=2), Axis(5, 1), Axis(6, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_depthwise, "BAND_BYTES", 300)
        check(ConvProblem(1, 1, 1, 1, axes), isa)


@pytest.mark.parametrize("isa", host_isas())
@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(7, 3, 1), (7, 5, 1), (14, 5, 1), (18, 5, 2), (30, 3, 2), (112, 3, 1), (114, 3, 2)]
)
def test_usual_maps(isa: Isa, size: int, kernel: int, stride: int) -> None:
    pad = kernel // 2 if stride == 1 else 0
    axis = Axis(size, kernel, stride, 1, pad, pad)
    check(ConvProblem(1, 5, 5, 5, (axis, axis)), isa)


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(problems(), st.sampled_from(host_isas()))
def test_epilogue(problem: ConvProblem, isa: Isa) -> None:
    weight, x = random_layer(problem)
    random = np.random.default_rng(1)
    tails = [random.standard_normal(operand_shape(o.reach, problem)).astype(np.float32) for o in TAIL.operands]
    inputs = {"x": x, **{f"epilogue.{i}": tail for i, tail in enumerate(tails)}}
    y = run(KERNEL, problem, inputs, weight, TAIL, isa)
    expected, scale = reference(problem, {"x": x}, weight)
    allowed = tolerance(np.float32, problem.reduction + 2, scale + sum(np.abs(tail) for tail in tails))
    assert_close(y, expected + sum(tails), allowed)


def test_refuses_what_is_not_depthwise() -> None:
    axis = Axis(9, 3)
    assert KERNEL.refuses(ConvProblem(1, 4, 4, 2, (axis,)), AVX512)
    assert KERNEL.refuses(ConvProblem(1, 4, 4, 4, (Axis(500, 200),)), AVX512)
    assert KERNEL.refuses(ConvProblem(1, 4, 8, 4, (axis,)), AVX512) is None
