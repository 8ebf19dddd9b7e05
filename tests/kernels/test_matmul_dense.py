"""The product of two activations against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from harness import assert_close, host_isas, reference, run, tolerance
from hypothesis import given, settings
from hypothesis import strategies as st
from tails import PLAIN, TAILS, Tail

from sparsec.kernels.isa import Isa
from sparsec.kernels.matmul_dense import MatmulDense
from sparsec.kernels.problem import MatmulProblem

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


@settings(max_examples=40, deadline=None)
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
