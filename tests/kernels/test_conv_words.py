"""Convolutions of bytes and of bfloat16 against int64 and float64 sums: every kernel on every instruction."""

from __future__ import annotations

import numpy as np
import pytest
from expected import Array, allowed_error, assert_close, reference
from harness import Variant, compile_layer, run, variants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layers import axes
from tails import Tail, tails_of

from sparsec.formats.coo import Coo
from sparsec.kernels import conv_columns, conv_csr
from sparsec.kernels.arithmetic import BF16, U8S8, Arithmetic
from sparsec.kernels.conv_blocked import ConvBlocked
from sparsec.kernels.conv_csr import ConvCsr
from sparsec.kernels.conv_dense import ConvDense
from sparsec.kernels.conv_depthwise import ConvDepthwise
from sparsec.kernels.conv_gathered import ConvGathered
from sparsec.kernels.conv_words import ConvWords
from sparsec.kernels.epilogue import IDENTITY
from sparsec.kernels.isa import AVX512, AVX512_BF16
from sparsec.kernels.kernel import Kernel
from sparsec.kernels.problem import Axis, ConvProblem

VARIANTS = variants(BF16, U8S8)
KERNELS = (ConvDense, ConvCsr, ConvBlocked, ConvDepthwise)
CASES = [(variant, kernel(variant.arithmetic)) for variant in VARIANTS for kernel in KERNELS[:3]]
CASES += [
    (variant, kernel)
    for variant in VARIANTS
    if variant.arithmetic == U8S8
    for kernel in (ConvDepthwise(U8S8), ConvGathered())
    if isinstance(kernel, ConvDepthwise) or variant.isa.bytes_dot == "vpdpbusd"
]


@st.composite
def problems(draw: st.DrawFn, arithmetic: Arithmetic, kernel: Kernel) -> ConvProblem:
    rank = draw(st.integers(1, 3))
    alike, depthwise = isinstance(kernel, ConvGathered), isinstance(kernel, ConvDepthwise)
    groups = 1 if alike else draw(st.sampled_from([1, 1, 2, 3]))
    shape = tuple(draw(_alike((200, 24, 9)[rank - 1]) if alike else axes((200, 24, 9)[rank - 1])) for _ in range(rank))
    if draw(st.integers(0, 3)) == 0:
        shape = tuple(Axis(axis.size, 1) for axis in shape)
    channels, filters = groups * draw(st.integers(1, 9)), groups * draw(st.sampled_from([1, 4, 7, 8, 20]))
    if depthwise:
        groups, filters = channels, channels * draw(st.integers(1, 3))
    pad_value = draw(st.sampled_from([0, 1, 128, 255])) if arithmetic == U8S8 else 0
    return ConvProblem(draw(st.integers(1, 2)), channels, filters, groups, shape, arithmetic, pad_value)


@st.composite
def _alike(draw: st.DrawFn, most: int) -> Axis:
    """An axis with as many outputs as samples."""
    kernel, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    before = draw(st.integers(0, dilation * (kernel - 1)))
    return Axis(draw(st.integers(1, most)), kernel, 1, dilation, before, dilation * (kernel - 1) - before)


@st.composite
def layers(draw: st.DrawFn) -> tuple[Variant, Kernel, ConvProblem]:
    variant, kernel = draw(st.sampled_from(CASES))
    problem = draw(problems(variant.arithmetic, kernel))
    while kernel.refuses(problem, variant.isa):
        problem = draw(problems(variant.arithmetic, kernel))
    return variant, kernel, problem


def random_layer(problem: ConvProblem, variant: Variant, density: float) -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    shape = (problem.filters, problem.channels // problem.groups, *(axis.kernel for axis in problem.axes))
    kept = random.random(shape) < density
    weight = np.where(kept, variant.weights(shape, random), 0).astype(variant.weights((0,), random).dtype)
    return weight, variant.activations((problem.batch, problem.channels, *(a.size for a in problem.axes)), random)


def check(kernel: Kernel, problem: ConvProblem, variant: Variant, density: float, tail: Tail | None = None) -> None:
    tail = tail or tails_of(variant.arithmetic)[0]
    weight, x = random_layer(problem, variant, density)
    operands = tail.operands(problem, np.random.default_rng(1))
    y = run(kernel, problem, {"x": x, **operands}, weight, tail.epilogue, variant.isa, (0.35, 0.7))
    total, scale = reference(problem, {"x": variant.exact(x)}, variant.exact(weight))
    assert_close(y, tail.apply(total, operands), allowed_error(variant.arithmetic, problem.reduction + 3, scale + 4))


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(layers(), st.sampled_from([0.0, 0.2, 1.0]))
def test_agrees_with_numpy(layer: tuple[Variant, Kernel, ConvProblem], density: float) -> None:
    variant, kernel, problem = layer
    check(kernel, problem, variant, density)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(layers(), st.data())
def test_epilogues(layer: tuple[Variant, Kernel, ConvProblem], data: st.DataObject) -> None:
    variant, kernel, problem = layer
    check(kernel, problem, variant, 0.4, data.draw(st.sampled_from(tails_of(variant.arithmetic))))


@pytest.mark.parametrize("height", [1, 4])
@pytest.mark.parametrize("size", [2, 7, 9, 14, 20])
@pytest.mark.parametrize("kernel", [1, 3])
def test_words_of_any_four_columns(height: int, size: int, kernel: int) -> None:
    axis = Axis(size, kernel, 1, 1, kernel // 2, kernel // 2)
    problem = ConvProblem(2, 13, 22, 1, (axis, axis), U8S8, 200)
    for variant, gathered in CASES:
        if not isinstance(gathered, ConvGathered):
            continue
        weight, x = random_layer(problem, variant, 0.2)
        weight = np.repeat(weight[::4], 4, axis=0)[:22] if height == 4 else weight
        y = run(gathered, problem, {"x": x}, weight, tails_of(U8S8)[0].epilogue, variant.isa, (0.5,))
        np.testing.assert_array_equal(y, reference(problem, {"x": x}, weight)[0])


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("gathers", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_sparse_rows_in_place_and_gathered(variant: Variant, gathers: bool, stride: int) -> None:
    axis = Axis(11, 3, stride, 1, 1, 1)
    pad_value = 77 if variant.arithmetic == U8S8 else 0
    problem = ConvProblem(2, 14, 30, 2, (axis, axis), variant.arithmetic, pad_value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_columns, "BLOCK_BYTES", 2000)
        patch.setattr(conv_csr, "_cycles", lambda *_: np.inf if gathers else -np.inf)
        check(ConvCsr(variant.arithmetic), problem, variant, 0.3)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("kernel", KERNELS[:3])
def test_layers_of_networks(variant: Variant, kernel: type[ConvDense]) -> None:
    axis = Axis(14, 3, 1, 1, 1, 1)
    pad_value = 128 if variant.arithmetic == U8S8 else 0
    check(
        kernel(variant.arithmetic), ConvProblem(1, 96, 64, 1, (axis, axis), variant.arithmetic, pad_value), variant, 0.2
    )
    check(kernel(variant.arithmetic), ConvProblem(1, 320, 48, 1, (Axis(49, 1),), variant.arithmetic), variant, 0.2)


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant.arithmetic == U8S8], ids=str)
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_largest_products_do_not_saturate(variant: Variant, kernel: type[ConvDense]) -> None:
    axis = Axis(9, 3, 1, 1, 1, 1)
    channels = 6
    groups = channels if kernel is ConvDepthwise else 1
    problem = ConvProblem(1, channels, 24, groups, (axis, axis), U8S8, 255)
    x = np.full((1, channels, 9, 9), 255, dtype=np.uint8)
    for value in (-128, 127):
        weight = np.full((24, channels // groups, 3, 3), value, dtype=np.int8)
        y = run(kernel(U8S8), problem, {"x": x}, weight, tails_of(U8S8)[0].epilogue, variant.isa)
        np.testing.assert_array_equal(y, 255 * value * 9 * channels // groups)


def test_a_word_reads_no_infinity_of_another_channel_group() -> None:
    """Channels that fill no whole word are zeros there, not their neighbours."""
    for variant in variants(BF16):
        problem = ConvProblem(1, 6, 8, 2, (Axis(20, 1),), BF16)
        weight, x = random_layer(problem, variant, 1.0)
        x[0, 3:] = np.inf
        for kernel in KERNELS[:3]:
            assert np.isfinite(run(kernel(BF16), problem, {"x": x}, weight, IDENTITY, variant.isa)[0, :4]).all()


def test_dense_and_sparse_weights_have_the_same_words() -> None:
    problem = ConvProblem(1, 14, 6, 2, (Axis(9, 3), Axis(9, 2)), U8S8)
    weight, _ = random_layer(problem, VARIANTS[-1], 0.5)
    given = ConvWords.of(problem, AVX512_BF16)
    arranged = given.arrange(Coo.from_dense(weight)).to_dense()
    np.testing.assert_array_equal(given.words.encode(arranged.reshape(6, -1, 4))[..., 0], given.encode(weight))


def test_words_of_whole_channels_are_packed_once() -> None:
    problem = ConvProblem(1, 16, 8, 1, (Axis(33, 1),), U8S8)
    layer = compile_layer(ConvCsr(U8S8), problem, np.ones((8, 16, 1), np.int8), tails_of(U8S8)[0].epilogue, AVX512)
    assert layer.lowered.calls[0].arguments == ("x", "words")


def test_refuses_other_arithmetic() -> None:
    problem = ConvProblem(1, 4, 4, 1, (Axis(9, 1),), U8S8)
    assert ConvGathered().refuses(problem, AVX512)
    assert ConvGathered().refuses(problem, AVX512_BF16) is None
    assert ConvGathered().refuses(ConvProblem(1, 4, 4, 2, (Axis(9, 1),), U8S8), AVX512_BF16)
    assert ConvGathered().refuses(ConvProblem(1, 4, 4, 1, (Axis(9, 3),), U8S8), AVX512_BF16)
    for kernel in KERNELS[:3]:
        assert kernel().refuses(problem, AVX512)
        assert kernel(U8S8).refuses(problem, AVX512) is None
        assert kernel(BF16).refuses(ConvProblem(1, 4, 4, 1, (Axis(9, 1),), BF16), AVX512)
