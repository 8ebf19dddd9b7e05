"""The product of two activations against float64 NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from expected import assert_close, reference, tolerance
from harness import host_isas, run
from hypothesis import given, settings
from hypothesis import strategies as st
from tails import PLAIN, TAILS, Tail

from sparsec.kernels.isa import Isa
from sparsec.kernels.matmul_dense import MatmulDense
from sparsec.kernels.problem import Lines, MatmulProblem

KERNEL = MatmulDense()


def check(problem: MatmulProblem, tail: Tail, isa: Isa, cuts: tuple[float, ...] = ()) -> None:
    random = np.random.default_rng(0)
    lefts, rights = (1 if shared else problem.batch for shared in (problem.shared_left, problem.shared_right))
    p = random.standard_normal((lefts, problem.rows, problem.inner), dtype=np.float32)
    q = random.standard_normal((rights, problem.inner * problem.columns), dtype=np.float32)
    operands = tail.operands(problem, random)
    y = run(KERNEL, problem, {"p": p, "q": q, **operands}, None, tail.epilogue, isa, cuts)
    total, scale = reference(problem, {"p": p, "q": q})
    assert_close(y, tail.apply(total, operands), tolerance(np.float32, problem.inner, scale + 4))


@settings(max_examples=40)
@given(
    st.builds(
        MatmulProblem,
        st.integers(0, 4),
        st.integers(0, 40),
        st.integers(0, 40),
        st.integers(0, 70),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    st.sampled_from(TAILS),
    st.sampled_from(host_isas()),
    st.lists(st.floats(0, 1), max_size=3),
)
def test_agrees_with_numpy(problem: MatmulProblem, tail: Tail, isa: Isa, cuts: list[float]) -> None:
    check(problem, tail, isa, tuple(cuts))


@pytest.mark.parametrize("isa", host_isas(), ids=lambda isa: isa.suffix)
@pytest.mark.parametrize("transposed", [False, True])
def test_attention_heads(isa: Isa, transposed: bool) -> None:
    check(MatmulProblem(12, 128, 32, 128, transposed), PLAIN, isa, (0.3, 0.6))


@settings(max_examples=30)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40), st.integers(1, 70)),
    st.booleans(),
    st.sampled_from([(True, False), (False, True), (True, True)]),
    st.sampled_from(TAILS),
    st.sampled_from(host_isas()),
)
def test_heads_of_tokens_are_read_where_they_lie(
    shape: tuple[int, int, int, int], transposed: bool, sides: tuple[bool, bool], tail: Tail, isa: Isa
) -> None:
    """An operand that lies as [tokens, heads, size] is that of heads one after the other."""
    batch, rows, inner, columns = shape
    problem = MatmulProblem(batch, rows, inner, columns, transposed)
    random = np.random.default_rng(0)
    p = random.standard_normal((batch, rows, inner), dtype=np.float32)
    size = (columns, inner) if transposed else (inner, columns)
    q = random.standard_normal((batch, *size), dtype=np.float32)
    operands = tail.operands(problem, random)
    total, scale = reference(problem, {"p": p, "q": q.reshape(batch, -1)})
    left, right = (
        Lines(batch * width, width) if apart else None for apart, width in zip(sides, (inner, size[1]), strict=True)
    )
    stored = {
        name: np.ascontiguousarray(array.transpose(1, 0, 2)) if apart else array
        for name, array, apart in (("p", p, sides[0]), ("q", q, sides[1]))
    }
    apart = replace(problem, left=left, right=right)
    y = run(KERNEL, apart, {**stored, **operands}, None, tail.epilogue, isa)
    assert_close(y, tail.apply(total, operands), tolerance(np.float32, inner, scale + 4))
