"""Sparse linear layers against float64 NumPy."""

from __future__ import annotations

import pytest
from harness import Variant, host_isas, variants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layers import Shape, check_linear, check_that_rows_are_kept_apart, shapes
from tails import Tail, tails_of

from sparsec.kernels import linear_csr, row_groups
from sparsec.kernels.arithmetic import BF16, F32, U8S8
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.linear_csr import LinearCsr
from sparsec.kernels.problem import ConvProblem, LinearProblem

KERNEL = LinearCsr()
VARIANTS = variants(F32, BF16, U8S8)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, st.sampled_from(VARIANTS), st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_agrees_with_numpy(shape: Shape, variant: Variant, density: float) -> None:
    check_linear(LinearCsr(variant.arithmetic), shape, variant, density, cuts=(0.3, 0.6))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, st.sampled_from(VARIANTS), st.sampled_from([0.1, 0.6]), st.sampled_from([1, 24, 64]))
def test_blocks_of_inputs(shape: Shape, variant: Variant, density: float, rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_csr, "BLOCK_BYTES", 1000)
        patch.setattr(row_groups, "GROUP_ROWS", rows)
        check_linear(LinearCsr(variant.arithmetic), shape, variant, density, cuts=(0.4,))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, st.sampled_from([(variant, tail) for variant in VARIANTS for tail in tails_of(variant.arithmetic)]))
def test_epilogues(shape: Shape, variant: tuple[Variant, Tail]) -> None:
    check_linear(LinearCsr(variant[0].arithmetic), shape, variant[0], 0.2, cuts=(0.5,), tail=variant[1])


@pytest.mark.parametrize("isa", host_isas())
@pytest.mark.parametrize("tokens", [1, 2, 5, 16, 33])
def test_an_output_sees_only_its_own_nonzeros(isa: Isa, tokens: int) -> None:
    check_that_rows_are_kept_apart(KERNEL, isa, tokens)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("inputs", [4096, 5001])
def test_wide_inputs(inputs: int, variant: Variant) -> None:
    check_linear(LinearCsr(variant.arithmetic), (70, inputs, 20), variant, 0.02)


def test_refuses_other_problems() -> None:
    assert KERNEL.refuses(ConvProblem(1, 1, 1, 1, ()), AVX512)
    assert KERNEL.refuses(LinearProblem(1, 4, 4, U8S8), AVX512)
    assert LinearCsr(BF16).refuses(LinearProblem(1, 4, 4, BF16), AVX512)
    assert LinearCsr(U8S8).refuses(LinearProblem(1, 4, 4, U8S8), AVX512) is None
