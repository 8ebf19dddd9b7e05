"""Attention against softmax and products in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from expected import F64, Array, allowed_error, assert_close, reference
from harness import F32, Variant, place, run, variants
from hypothesis import given, settings
from hypothesis import strategies as st
from tails import BIAS_RELU, LONG, PLAIN, Tail

from sparsec.kernels.arithmetic import BF16
from sparsec.kernels.arithmetic import F32 as SINGLE
from sparsec.kernels.attention_dense import BLOCK_BYTES, AttentionDense
from sparsec.kernels.isa import AVX2, AVX512, AVX512_BF16
from sparsec.kernels.problem import AttentionProblem, Lines, MatmulProblem

KERNEL = AttentionDense()
TAILS = (PLAIN, BIAS_RELU, LONG)  # with operands that lie along channels, and as the result does
VARIANTS = variants(SINGLE, BF16)


def inputs_of(problem: AttentionProblem) -> dict[str, F32]:
    """Random operands; a third of the mask hides keys."""
    random = np.random.default_rng(0)
    found = {
        name: random.standard_normal(
            (problem.batch, problem.heads, problem.queries if name == "q" else problem.keys, problem.size), np.float32
        )
        for name in "qkv"
    }
    if problem.mask is not None:
        shown = random.standard_normal(problem.mask, np.float32)
        found["mask"] = np.where(random.random(problem.mask) < 1 / 3, np.float32(-1e4), shown)
    return found


def attend(
    problem: AttentionProblem,
    inputs: dict[str, Array],
    variant: Variant,
    tail: Tail = PLAIN,
    cuts: tuple[float, ...] = (),
) -> Array:
    """The kernel's result."""
    kernel, problem = AttentionDense(variant.arithmetic), replace(problem, arithmetic=variant.arithmetic)
    return run(kernel, problem, inputs, None, tail.epilogue, variant.isa, cuts)


def expected_of(problem: AttentionProblem, inputs: dict[str, F32], variant: Variant) -> tuple[F64, F64]:
    """The result of what is multiplied, and how wrong it may be: bfloat16 rounds exponentials to 2^-8, of which `reference`
    counts a quarter, and these are exact to 2^-12.
    """
    scaled = {**inputs, "k": inputs["k"] * np.float32(problem.scale)}
    multiplied = {name: each if name == "mask" else variant.exact(each) for name, each in scaled.items()}
    expected, scale = reference(replace(problem, scale=1.0), multiplied)
    allowed = allowed_error(variant.arithmetic, problem.keys + problem.size, scale + 4)
    return expected, allowed + (2**-8 + 2**-12) / 4 * scale if variant.arithmetic == BF16 else allowed


def check(problem: AttentionProblem, tail: Tail, variant: Variant, cuts: tuple[float, ...] = ()) -> None:
    inputs = inputs_of(problem)
    operands = tail.operands(problem, np.random.default_rng(1))
    y = attend(problem, {**inputs, **operands}, variant, tail, cuts)
    expected, allowed = expected_of(problem, inputs, variant)
    assert_close(y, tail.apply(expected, operands), allowed)


@st.composite
def problems(draw: st.DrawFn) -> AttentionProblem:
    """Any sizes; a mask that shares any of its axes."""
    sizes = draw(st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 40), st.integers(1, 70)))
    size, scale = draw(st.integers(1, 40)), draw(st.sampled_from([1.0, 0.125, -0.3]))
    whole = [draw(st.booleans()) for _ in sizes]
    batch, heads, queries, keys = (length if all_of else 1 for length, all_of in zip(sizes, whole, strict=True))
    return AttentionProblem(*sizes, size, scale, draw(st.sampled_from([None, (batch, heads, queries, keys)])))


@settings(max_examples=40)
@given(problems(), st.sampled_from(TAILS), st.sampled_from(VARIANTS), st.lists(st.floats(0, 1), max_size=2))
def test_agrees_with_numpy(problem: AttentionProblem, tail: Tail, variant: Variant, cuts: list[float]) -> None:
    check(problem, tail, variant, tuple(cuts))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("sizes", [(12, 128, 128, 32), (2, 3, 1024, 64), (1, 1, 2051, 8), (1, 1, 1, 1)])
def test_usual_sizes(variant: Variant, sizes: tuple[int, int, int, int]) -> None:
    heads, queries, keys, size = sizes
    check(AttentionProblem(1, heads, queries, keys, size, size**-0.5, (1, 1, 1, keys)), PLAIN, variant, (0.3, 0.6))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_later_keys_are_hidden(variant: Variant) -> None:
    problem = AttentionProblem(1, 2, 33, 33, 16, 0.25, (1, 1, 33, 33))
    later = np.triu(np.ones((1, 1, 33, 33), np.bool_), 1)
    inputs = inputs_of(problem)
    hidden, far = ({**inputs, "mask": np.where(later, np.float32(low), np.float32(0))} for low in (-np.inf, -1e4))
    expected, allowed = expected_of(problem, far, variant)
    assert_close(attend(problem, dict[str, Array](hidden), variant), expected, allowed)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_heads_of_tokens_are_read_where_they_lie(variant: Variant) -> None:
    problem = AttentionProblem(1, 3, 17, 21, 9)
    inputs = inputs_of(problem)
    lines = Lines(3 * 9, 9)
    stored = {name: np.ascontiguousarray(each.swapaxes(1, 2)) for name, each in inputs.items()}
    y = attend(replace(problem, apart=(lines, lines, lines, lines)), dict[str, Array](stored), variant)
    expected, allowed = expected_of(problem, inputs, variant)
    assert_close(y.reshape(1, 17, 3, 9).swapaxes(1, 2), expected, allowed)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_what_is_not_a_number_stays_in_its_row(variant: Variant) -> None:
    """Rows that are masked altogether are NaN, as those with a score of NaN or infinity; keys that are masked do not count."""
    problem = AttentionProblem(1, 1, 20, 19, 5, 1.0, (1, 1, 20, 19))
    inputs = inputs_of(problem)
    mask = inputs["mask"]
    mask[0, 0, 3], mask[0, 0, 4, 7], mask[0, 0, 5, 18], mask[0, 0, 6, :18] = -np.inf, np.nan, np.inf, -np.inf
    inputs["q"][0, 0, 8, 2] = np.nan
    y = attend(problem, dict[str, Array](inputs), variant)
    expected, _ = expected_of(problem, inputs, variant)
    assert np.flatnonzero(np.isnan(y[0, 0]).any(axis=1)).tolist() == [3, 4, 5, 8]
    np.testing.assert_allclose(y, expected, atol=1e-2 if variant.arithmetic == BF16 else 1e-5)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_infinite_values_reach_their_channel_only(variant: Variant) -> None:
    problem = AttentionProblem(1, 2, 20, 19, 5)
    inputs = inputs_of(problem)
    inputs["v"][0, 1, 18, 4] = np.inf
    y = attend(problem, dict[str, Array](inputs), variant)
    assert (y[0, 1, :, 4] == np.inf).all()
    assert np.isfinite(np.delete(y.reshape(2, -1, 5)[1], 4, axis=1)).all()
    assert np.isfinite(y[0, 0]).all()


def test_what_it_refuses() -> None:
    assert KERNEL.refuses(MatmulProblem(1, 2, 3, 4), AVX512) is not None
    half = AttentionProblem(1, 1, 2, 3, 4, arithmetic=BF16)
    assert KERNEL.refuses(half, AVX512_BF16) is not None
    assert AttentionDense(BF16).refuses(half, AVX512_BF16) is None
    assert AttentionDense(BF16).refuses(half, AVX2) is not None
    assert KERNEL.refuses(AttentionProblem(1, 1, 1, 0, 8), AVX512) is not None
    assert KERNEL.refuses(AttentionProblem(1, 1, 1, BLOCK_BYTES // 4, 8), AVX512) is not None  # padded, as it clashes
    assert KERNEL.refuses(AttentionProblem(1, 1, 1, BLOCK_BYTES // 4 - 16, 8), AVX512) is None


def test_no_queries() -> None:
    y = run(KERNEL, AttentionProblem(1, 2, 0, 3, 4), {"q": place(np.zeros(0, np.float32))})
    assert y.shape == (1, 2, 0, 4)
