"""The product of two activations of bytes against 64-bit whole numbers: sums are exact."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Variant, run, variants
from hypothesis import given, settings
from hypothesis import strategies as st
from tails import Tail, tails_of

from sparsec.kernels.arithmetic import F32, U8S8
from sparsec.kernels.isa import AVX512
from sparsec.kernels.matmul_words import MatmulWords
from sparsec.kernels.problem import MatmulProblem

KERNEL = MatmulWords()
VARIANTS = variants(U8S8)
PLAIN = tails_of(U8S8)[0]


def check(
    problem: MatmulProblem, tail: Tail, variant: Variant, cuts: tuple[float, ...] = (), extreme: bool = False
) -> None:
    random = np.random.default_rng(0)
    p, q = (
        np.full((problem.batch, rows, columns), 255, np.uint8)
        if extreme
        else random.integers(0, 256, (problem.batch, rows, columns), dtype=np.uint8)
        for rows, columns in (
            (problem.rows, problem.inner),
            (problem.columns, problem.inner) if problem.transposed else (problem.inner, problem.columns),
        )
    )
    operands = tail.operands(problem, random)
    y = run(KERNEL, problem, {"p": p, "q": q, **operands}, None, tail.epilogue, variant.isa, cuts)
    upright = q.swapaxes(1, 2) if problem.transposed else q
    left, right = p.astype(np.int64) - problem.zeros[0], upright.astype(np.int64) - problem.zeros[1]
    np.testing.assert_array_equal(y, tail.apply((left @ right).astype(np.float64), operands))


ZEROS = st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255)


@settings(max_examples=80)
@given(
    st.integers(0, 3),
    st.integers(0, 20),
    st.integers(1, 150),
    st.integers(0, 70),
    st.booleans(),
    st.tuples(ZEROS, ZEROS),
    st.sampled_from(VARIANTS),
    st.lists(st.floats(0, 1), max_size=3),
)
def test_agrees_with_numpy(
    batch: int,
    rows: int,
    inner: int,
    columns: int,
    transposed: bool,
    zeros: tuple[int, int],
    variant: Variant,
    cuts: list[float],
) -> None:
    problem = MatmulProblem(batch, rows, inner, columns, transposed, arithmetic=U8S8, zeros=zeros)
    check(problem, PLAIN, variant, tuple(cuts))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("transposed", [False, True])
def test_attention_heads(variant: Variant, transposed: bool) -> None:
    check(MatmulProblem(12, 128, 32, 128, transposed, arithmetic=U8S8, zeros=(120, 131)), PLAIN, variant, (0.3, 0.6))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("zeros", [(0, 0), (255, 255), (0, 255)])
def test_largest_bytes(variant: Variant, zeros: tuple[int, int]) -> None:
    check(MatmulProblem(1, 3, 1000, 17, arithmetic=U8S8, zeros=zeros), PLAIN, variant, extreme=True)


@pytest.mark.parametrize("tail", tails_of(U8S8))
def test_tails(tail: Tail) -> None:
    check(MatmulProblem(2, 9, 40, 33, arithmetic=U8S8, zeros=(3, 7)), tail, VARIANTS[0])


def test_what_it_refuses() -> None:
    assert "exceed 32 bits" in str(KERNEL.refuses(MatmulProblem(1, 1, 33_026, 1, arithmetic=U8S8), AVX512))
    assert KERNEL.refuses(MatmulProblem(1, 1, 33_025, 1, arithmetic=U8S8), AVX512) is None
    assert "not f32" in str(KERNEL.refuses(MatmulProblem(1, 1, 8, 1, arithmetic=F32), AVX512))
