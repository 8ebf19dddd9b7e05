"""Sparse linear layers against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Variant, host_isas, run, variants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layers import Shape, check_linear, check_that_rows_are_kept_apart, check_weight, random_linear, shapes
from tails import Tail, tails_of

from sparsec.kernels import linear_split, row_groups
from sparsec.kernels.arithmetic import F32, U8S8
from sparsec.kernels.epilogue import identity
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.linear_split import LinearSplit
from sparsec.kernels.problem import ConvProblem, LinearProblem

KERNEL = LinearSplit()
VARIANTS = variants(F32, U8S8)
BLOCKS = ((1, 1), (1, 4))  # of nonzeros; the wide ones are words of bytes


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, st.sampled_from(VARIANTS), st.sampled_from([0.0, 0.05, 0.5, 1.0]), st.sampled_from(BLOCKS))
def test_agrees_with_numpy(shape: Shape, variant: Variant, density: float, block: tuple[int, int]) -> None:
    check_linear(LinearSplit(variant.arithmetic), shape, variant, density, block, cuts=(0.3, 0.6))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, st.sampled_from(VARIANTS), st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 0.3]), st.booleans())
def test_full_rows_full_columns_and_blocks(
    shape: Shape, variant: Variant, density: float, full: float, blocks: bool
) -> None:
    problem, random = LinearProblem(*shape, variant.arithmetic), np.random.default_rng(2)
    weight, x = random_linear(problem, density, variant)
    filled, _ = random_linear(problem, 0.3 if blocks else 0.0, variant, (4, 1))
    everywhere = variant.weights(weight.shape, random)
    chosen = (random.random((len(weight), 1)) < full) | (random.random((1, weight.shape[1])) < full)
    parts = np.where(chosen, everywhere, np.where(filled != 0, filled, weight))
    tail = tails_of(variant.arithmetic)[0]
    check_weight(LinearSplit(variant.arithmetic), problem, variant, parts, x, (0.4,), tail)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, st.sampled_from(VARIANTS), st.sampled_from([0.1, 0.6, 0.9]), st.sampled_from([1, 24, 64]))
def test_blocks_of_inputs(shape: Shape, variant: Variant, density: float, rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_split, "BLOCK_BYTES", 1000)
        patch.setattr(linear_split, "OFFSETS", 2000)
        patch.setattr(row_groups, "GROUP_ROWS", rows)
        check_linear(LinearSplit(variant.arithmetic), shape, variant, density, (1, 4), cuts=(0.4,))


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, st.sampled_from([(variant, tail) for variant in VARIANTS for tail in tails_of(variant.arithmetic)]))
def test_epilogues(shape: Shape, variant: tuple[Variant, Tail]) -> None:
    check_linear(LinearSplit(variant[0].arithmetic), shape, variant[0], 0.2, cuts=(0.5,), tail=variant[1])


@pytest.mark.parametrize("isa", host_isas())
@pytest.mark.parametrize("tokens", [1, 2, 5, 16, 33])
def test_an_output_sees_only_its_own_nonzeros(isa: Isa, tokens: int) -> None:
    check_that_rows_are_kept_apart(KERNEL, isa, tokens)


@pytest.mark.parametrize("isa", host_isas())
def test_an_output_sees_only_its_own_nonzeros_among_full_rows(isa: Isa) -> None:
    weight = np.zeros((64, 48), dtype=np.float32)
    weight[::5] = 1.0
    weight[:, :20] = 1.0
    x = np.ones((33, 48), dtype=np.float32)
    x[:, 30] = np.nan
    y = run(KERNEL, LinearProblem(33, 48, 64), {"x": x}, weight, isa=isa)
    assert np.isnan(y[:, ::5]).all()
    np.testing.assert_array_equal(np.delete(y, np.s_[::5], axis=1), 20.0)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_wide_inputs(variant: Variant) -> None:
    check_linear(LinearSplit(variant.arithmetic), (70, 5001, 20), variant, 0.02)


@pytest.mark.parametrize("variant", variants(U8S8), ids=str)
def test_rows_share_words(variant: Variant) -> None:
    """Half of the words have nonzeros: there are bundles, and the largest sums are exact."""
    problem, random = LinearProblem(40, 2048, 64, U8S8), np.random.default_rng(0)
    kept = np.repeat(random.random((64, 512)) < 0.5, 4, axis=1)
    x, weight = np.full((40, 2048), 255, np.uint8), np.where(kept, -128, 0).astype(np.int8)
    kernel = LinearSplit(U8S8)
    assert len(kernel.schedule(problem, weight, variant.isa).walkers) > 1
    y = run(kernel, problem, {"x": x}, weight, identity("i32"), variant.isa)
    np.testing.assert_array_equal(y, np.tile(-128 * 255 * kept.sum(axis=1), (40, 1)))


def test_refuses_other_problems() -> None:
    assert KERNEL.refuses(ConvProblem(1, 1, 1, 1, ()), AVX512)
    assert KERNEL.refuses(LinearProblem(2, 4, 4, U8S8), AVX512)
    assert LinearSplit(U8S8).refuses(LinearProblem(1, 4, 4, U8S8), AVX512)
    assert LinearSplit(U8S8).refuses(LinearProblem(2, 4, 4, U8S8), AVX512) is None
