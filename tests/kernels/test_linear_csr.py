"""Sparse linear layers against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Array, Variant, allowed_error, assert_close, host_isas, reference, run, variants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tails import Tail, tails_of

from sparsec.kernels import counted_rows, linear_csr, row_groups
from sparsec.kernels.arithmetic import BF16, F32, U8S8
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.linear_csr import LinearCsr
from sparsec.kernels.problem import ConvProblem, LinearProblem

KERNEL = LinearCsr()
VARIANTS = variants(F32, BF16, U8S8)
sizes = st.one_of(st.integers(1, 20), st.integers(21, 150))
shapes = st.tuples(sizes, sizes, sizes)


def random_layer(problem: LinearProblem, density: float, variant: Variant) -> tuple[Array, Array]:
    random, shape = np.random.default_rng(0), (problem.outputs, problem.inputs)
    kept = random.random(shape) < density
    weight = np.where(kept, variant.weights(shape, random), 0).astype(variant.weights((0,), random).dtype)
    return weight, variant.activations((problem.tokens, problem.inputs), random)


def check(
    shape: tuple[int, int, int],
    variant: Variant,
    density: float,
    cuts: tuple[float, ...] = (),
    tail: Tail | None = None,
) -> None:
    problem, tail = LinearProblem(*shape, variant.arithmetic), tail or tails_of(variant.arithmetic)[0]
    weight, x = random_layer(problem, density, variant)
    operands = tail.operands(problem, np.random.default_rng(1))
    y = run(LinearCsr(variant.arithmetic), problem, {"x": x, **operands}, weight, tail.epilogue, variant.isa, cuts)
    total, scale = reference(problem, {"x": variant.exact(x)}, variant.exact(weight))
    assert_close(y, tail.apply(total, operands), allowed_error(variant.arithmetic, problem.inputs + 3, scale + 4))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, st.sampled_from(VARIANTS), st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_agrees_with_numpy(shape: tuple[int, int, int], variant: Variant, density: float) -> None:
    check(shape, variant, density, (0.3, 0.6))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, st.sampled_from(VARIANTS), st.sampled_from([0.1, 0.6]), st.sampled_from([1, 24, 64]))
def test_blocks_of_inputs(shape: tuple[int, int, int], variant: Variant, density: float, rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_csr, "BLOCK_BYTES", 1000)
        patch.setattr(row_groups, "GROUP_ROWS", rows)
        check(shape, variant, density, (0.4,))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_weights_that_are_asked_for_ahead(variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted_rows, "FAR_BYTES", 0)
    check((40, 300, 50), variant, 0.6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, st.sampled_from([(variant, tail) for variant in VARIANTS for tail in tails_of(variant.arithmetic)]))
def test_epilogues(shape: tuple[int, int, int], variant: tuple[Variant, Tail]) -> None:
    check(shape, variant[0], 0.2, (0.5,), variant[1])


@pytest.mark.parametrize("isa", host_isas())
@pytest.mark.parametrize("tokens", [1, 2, 5, 16, 33])
def test_an_output_sees_only_its_own_nonzeros(isa: Isa, tokens: int) -> None:
    weight = np.zeros((40, 24), dtype=np.float32)
    for row in range(40):
        weight[row, : row % 24] = 3.0
    x = np.ones((tokens, 24), dtype=np.float32)
    x[:, 20] = np.inf
    y = run(KERNEL, LinearProblem(tokens, 24, 40), {"x": x}, weight, isa=isa)
    reads = np.arange(40) % 24 > 20
    assert np.isposinf(y[:, reads]).all()
    np.testing.assert_array_equal(y[:, ~reads], np.broadcast_to(3.0 * (np.arange(40) % 24), y.shape)[:, ~reads])


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_wide_inputs(variant: Variant) -> None:
    check((70, 5001, 20), variant, 0.02)


def test_refuses_other_problems() -> None:
    assert KERNEL.refuses(ConvProblem(1, 1, 1, 1, ()), AVX512)
    assert KERNEL.refuses(LinearProblem(1, 4, 4, U8S8), AVX512)
    assert LinearCsr(BF16).refuses(LinearProblem(1, 4, 4, BF16), AVX512)
    assert LinearCsr(U8S8).refuses(LinearProblem(1, 4, 4, U8S8), AVX512) is None
