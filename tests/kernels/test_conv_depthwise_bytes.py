"""Depthwise convolutions of bytes: exact sums, whatever the plane, the stride and the padding."""

from __future__ import annotations

import numpy as np
import pytest
from expected import reference
from harness import run
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tails import Tail, tails_of

from sparsec.kernels.arithmetic import F32, U8S8
from sparsec.kernels.conv_depthwise_bytes import ConvDepthwiseBytes
from sparsec.kernels.isa import AVX2_VNNI, AVX512, AVX512_BF16
from sparsec.kernels.problem import Axis, ConvProblem
from sparsec.runtime.library import cpu_features

KERNEL = ConvDepthwiseBytes()
pytestmark = pytest.mark.skipif(
    not {"avx512vnni", "avx512vbmi2"} <= cpu_features(), reason="this processor has no AVX-512 VNNI and VBMI2"
)


def check(problem: ConvProblem, tail: Tail, cuts: tuple[float, ...] = ()) -> None:
    random = np.random.default_rng(0)
    x = random.integers(
        0, 256, (problem.batch, problem.channels, *(axis.size for axis in problem.axes)), dtype=np.uint8
    )
    w = random.integers(-128, 128, (problem.filters, 1, *(axis.kernel for axis in problem.axes)), dtype=np.int8)
    operands = tail.operands(problem, random)
    y = run(KERNEL, problem, {"x": x, **operands}, w, tail.epilogue, AVX512_BF16, cuts)
    total, _ = reference(problem, {"x": x}, w)
    np.testing.assert_array_equal(y, tail.apply(total, operands))


AXIS = st.builds(
    Axis,
    st.integers(1, 60),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 4),
    st.integers(0, 4),
)


@settings(max_examples=60)
@given(
    st.integers(1, 2),
    st.integers(2, 3),
    st.integers(1, 2),
    st.tuples(AXIS, AXIS),
    st.integers(0, 255),
    st.sampled_from(tails_of(U8S8)),
    st.lists(st.floats(0, 1), max_size=2),
)
def test_agrees_with_numpy(
    batch: int, channels: int, each: int, axes: tuple[Axis, Axis], pad: int, tail: Tail, cuts: list[float]
) -> None:
    assume(all(axis.out > 0 for axis in axes))
    problem = ConvProblem(batch, channels, channels * each, channels, axes, U8S8, pad)
    assume(KERNEL.refuses(problem, AVX512_BF16) is None)
    check(problem, tail, tuple(cuts))


@pytest.mark.parametrize("size", [112, 56, 28, 14, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_planes_of_networks(size: int, stride: int, kernel: int) -> None:
    axis = Axis(size, kernel, stride, 1, kernel // 2, kernel // 2)
    problem = ConvProblem(1, 2, 2, 2, (axis, axis), U8S8, 7)
    if axis.out >= 14 or stride == 1:
        assert KERNEL.refuses(problem, AVX512_BF16) is None
    if KERNEL.refuses(problem, AVX512_BF16) is None:
        check(problem, tails_of(U8S8)[-1])


def test_what_it_refuses() -> None:
    axis = Axis(28, 3, 1, 1, 1, 1)
    assert "permute" in str(KERNEL.refuses(ConvProblem(1, 2, 2, 2, (axis, axis), U8S8), AVX512))
    assert "permute" in str(KERNEL.refuses(ConvProblem(1, 2, 2, 2, (axis, axis), U8S8), AVX2_VNNI))
    assert "not f32" in str(KERNEL.refuses(ConvProblem(1, 2, 2, 2, (axis, axis), F32), AVX512_BF16))
    assert "as many groups" in str(KERNEL.refuses(ConvProblem(1, 2, 2, 1, (axis, axis), U8S8), AVX512_BF16))
    far = Axis(400, 3, 5, 1, 1, 1)
    assert "too far apart" in str(KERNEL.refuses(ConvProblem(1, 2, 2, 2, (axis, far), U8S8), AVX512_BF16))
