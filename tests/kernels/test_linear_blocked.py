"""Linear layers with row blocks against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Variant, compile_layer, host_isas, run, variants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layers import Shape, check_linear, random_linear, shapes
from tails import Tail, tails_of

from sparsec.kernels import linear_blocked, row_groups
from sparsec.kernels.arithmetic import BF16, F32, U8S8
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.linear_blocked import LinearBlocked
from sparsec.kernels.problem import ConvProblem, LinearProblem

KERNEL = LinearBlocked()
VARIANTS = variants(F32, BF16, U8S8)
several = shapes.filter(lambda shape: shape[0] > 1)
blocks = st.sampled_from([(1, 1), (1, 4), (4, 1), (8, 1), (16, 1), (4, 4), (16, 16)])


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(several, st.sampled_from(VARIANTS), st.sampled_from([0.0, 0.05, 0.5, 1.0]), blocks)
def test_agrees_with_numpy(shape: Shape, variant: Variant, density: float, block: tuple[int, int]) -> None:
    check_linear(LinearBlocked(variant.arithmetic), shape, variant, density, block, cuts=(0.3, 0.6))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(several, st.sampled_from(VARIANTS), st.sampled_from([0.1, 0.6]), st.sampled_from([1, 24, 64]))
def test_inputs_beyond_the_cache(shape: Shape, variant: Variant, density: float, rows: int) -> None:
    """Sums that are held from one block of columns to the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_blocked, "L2_BYTES", 1000)
        patch.setattr(row_groups, "GROUP_ROWS", rows)
        check_linear(LinearBlocked(variant.arithmetic), shape, variant, density, (4, 1), cuts=(0.4,))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(several, st.sampled_from([(variant, tail) for variant in VARIANTS for tail in tails_of(variant.arithmetic)]))
def test_epilogues(shape: Shape, variant: tuple[Variant, Tail]) -> None:
    check_linear(LinearBlocked(variant[0].arithmetic), shape, variant[0], 0.2, (4, 1), cuts=(0.5,), tail=variant[1])


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("outputs", [1024, 2048])
def test_outputs_that_share_a_cache_set(variant: Variant, outputs: int) -> None:
    check_linear(LinearBlocked(variant.arithmetic), (20, 30, outputs), variant, 0.2, (4, 1))


@pytest.mark.parametrize("isa", host_isas())
@pytest.mark.parametrize("tokens", [2, 5, 16, 33])
def test_an_output_sees_only_the_blocks_of_its_rows(isa: Isa, tokens: int) -> None:
    weight = np.zeros((40, 24), dtype=np.float32)
    for row in range(40):
        weight[row, : row // 8 * 5] = 3.0
    x = np.ones((tokens, 24), dtype=np.float32)
    x[:, 17] = np.inf
    x[:, 18] = np.nan
    y = run(KERNEL, LinearProblem(tokens, 24, 40), {"x": x}, weight, isa=isa)
    np.testing.assert_array_equal(y[:, :32], np.broadcast_to(np.arange(32) // 8 * 15.0, (tokens, 32)))
    assert np.isnan(y[:, 32:]).all()


@pytest.mark.parametrize("variant", [each for each in VARIANTS if each.isa.masks], ids=str)
@pytest.mark.parametrize(("pattern", "height"), [(4, 4), (8, 8), (16, 8)])
def test_the_height_of_the_blocks_follows_the_weight(pattern: int, height: int, variant: Variant) -> None:
    problem = LinearProblem(48, 64, 128, variant.arithmetic)
    weight, _ = random_linear(problem, 0.2, variant, (pattern, 4))
    kernel, tail = LinearBlocked(variant.arithmetic), tails_of(variant.arithmetic)[0]
    lowered = compile_layer(kernel, problem, weight, tail.epilogue, variant.isa).lowered
    assert f"_blocked_{height}x" in lowered.calls[-1].function


def test_refuses_other_problems() -> None:
    assert KERNEL.refuses(ConvProblem(1, 1, 1, 1, ()), AVX512)
    assert KERNEL.refuses(LinearProblem(1, 4, 4), AVX512)
    assert KERNEL.refuses(LinearProblem(2, 4, 4, U8S8), AVX512)
    assert KERNEL.refuses(LinearProblem(2, 4, 4), AVX512) is None
