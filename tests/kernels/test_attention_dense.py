"""Attention against softmax and products in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from expected import Array, assert_close, reference, tolerance
from harness import F32, host_isas, place, run
from hypothesis import given, settings
from hypothesis import strategies as st
from tails import BIAS_RELU, LONG, PLAIN, Tail

from sparsec.kernels.attention_dense import BLOCK_BYTES, AttentionDense
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.problem import AttentionProblem, Lines, MatmulProblem

KERNEL = AttentionDense()
TAILS = (PLAIN, BIAS_RELU, LONG)  # with operands that lie along channels, and as the result does


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


def check(problem: AttentionProblem, tail: Tail, isa: Isa, cuts: tuple[float, ...] = ()) -> None:
    inputs = inputs_of(problem)
    operands = tail.operands(problem, np.random.default_rng(1))
    y = run(KERNEL, problem, {**inputs, **operands}, None, tail.epilogue, isa, cuts)
    expected, scale = reference(problem, inputs)
    reduction = problem.keys + problem.size
    assert_close(y, tail.apply(expected, operands), tolerance(np.float32, reduction, scale + 4))


@st.composite
def problems(draw: st.DrawFn) -> AttentionProblem:
    """Any sizes; a mask that shares any of its axes."""
    sizes = draw(st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 40), st.integers(1, 70)))
    size, scale = draw(st.integers(1, 40)), draw(st.sampled_from([1.0, 0.125, -0.3]))
    whole = [draw(st.booleans()) for _ in sizes]
    batch, heads, queries, keys = (length if all_of else 1 for length, all_of in zip(sizes, whole, strict=True))
    return AttentionProblem(*sizes, size, scale, draw(st.sampled_from([None, (batch, heads, queries, keys)])))


@settings(max_examples=40)
@given(problems(), st.sampled_from(TAILS), st.sampled_from(host_isas()), st.lists(st.floats(0, 1), max_size=2))
def test_agrees_with_numpy(problem: AttentionProblem, tail: Tail, isa: Isa, cuts: list[float]) -> None:
    check(problem, tail, isa, tuple(cuts))


@pytest.mark.parametrize("isa", host_isas(), ids=lambda isa: isa.suffix)
@pytest.mark.parametrize("sizes", [(12, 128, 128, 32), (2, 3, 1024, 64), (1, 1, 2051, 8)])
def test_usual_sizes(isa: Isa, sizes: tuple[int, int, int, int]) -> None:
    heads, queries, keys, size = sizes
    check(AttentionProblem(1, heads, queries, keys, size, size**-0.5, (1, 1, 1, keys)), PLAIN, isa, (0.3, 0.6))


@pytest.mark.parametrize("isa", host_isas(), ids=lambda isa: isa.suffix)
def test_heads_of_tokens_are_read_where_they_lie(isa: Isa) -> None:
    problem = AttentionProblem(1, 3, 17, 21, 9)
    inputs = inputs_of(problem)
    lines = Lines(3 * 9, 9)
    stored = {name: np.ascontiguousarray(each.swapaxes(1, 2)) for name, each in inputs.items()}
    y = run(KERNEL, replace(problem, apart=(lines, lines, lines, lines)), dict[str, Array](stored), isa=isa)
    expected, scale = reference(problem, inputs)
    assert_close(y.reshape(1, 17, 3, 9).swapaxes(1, 2), expected, tolerance(np.float32, 30, scale + 4))


@pytest.mark.parametrize("isa", host_isas(), ids=lambda isa: isa.suffix)
def test_what_is_not_a_number_stays_in_its_row(isa: Isa) -> None:
    """Rows that are masked altogether are NaN, as those with a score of NaN or infinity; keys that are masked do not count."""
    problem = AttentionProblem(1, 1, 20, 19, 5, 1.0, (1, 1, 20, 19))
    inputs = inputs_of(problem)
    mask = inputs["mask"]
    mask[0, 0, 3], mask[0, 0, 4, 7], mask[0, 0, 5, 18], mask[0, 0, 6, :18] = -np.inf, np.nan, np.inf, -np.inf
    inputs["q"][0, 0, 8, 2] = np.nan
    y = run(KERNEL, problem, dict[str, Array](inputs), isa=isa)
    expected, _ = reference(problem, inputs)
    assert np.flatnonzero(np.isnan(y[0, 0]).any(axis=1)).tolist() == [3, 4, 5, 8]
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_what_it_refuses() -> None:
    assert KERNEL.refuses(MatmulProblem(1, 2, 3, 4), AVX512) is not None
    assert KERNEL.refuses(AttentionProblem(1, 1, 1, 0, 8), AVX512) is not None
    assert KERNEL.refuses(AttentionProblem(1, 1, 1, BLOCK_BYTES // 4, 8), AVX512) is not None  # padded, as it clashes
    assert KERNEL.refuses(AttentionProblem(1, 1, 1, BLOCK_BYTES // 4 - 16, 8), AVX512) is None


def test_no_queries() -> None:
    y = run(KERNEL, AttentionProblem(1, 2, 0, 3, 4), {"q": place(np.zeros(0, np.float32))})
    assert y.shape == (1, 2, 0, 4)
