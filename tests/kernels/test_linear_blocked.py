"""Linear layers with row blocks against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Array, Variant, allowed_error, assert_close, compile_layer, host_isas, reference, run, variants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tails import Tail, tails_of

from sparsec.kernels import linear_blocked, row_groups
from sparsec.kernels.arithmetic import BF16, F32, U8S8
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.linear_blocked import LinearBlocked
from sparsec.kernels.problem import ConvProblem, LinearProblem

KERNEL = LinearBlocked()
VARIANTS = variants(F32, BF16, U8S8)
sizes = st.one_of(st.integers(1, 20), st.integers(21, 150))
shapes = st.tuples(sizes.filter(lambda tokens: tokens > 1), sizes, sizes)
blocks = st.sampled_from([(1, 1), (1, 4), (4, 1), (8, 1), (16, 1), (4, 4), (16, 16)])


def random_layer(
    problem: LinearProblem, density: float, variant: Variant, block: tuple[int, int] = (4, 1)
) -> tuple[Array, Array]:
    random, shape = np.random.default_rng(0), (problem.outputs, problem.inputs)
    down, across = -(-problem.outputs // block[0]), -(-problem.inputs // block[1])
    kept = np.kron(random.random((down, across)) < density, np.ones(block, dtype=bool))[: shape[0], : shape[1]]
    weight = np.where(kept, variant.weights(shape, random), 0).astype(variant.weights((0,), random).dtype)
    return weight, variant.activations((problem.tokens, problem.inputs), random)


def check(
    shape: tuple[int, int, int],
    variant: Variant,
    density: float,
    block: tuple[int, int] = (4, 1),
    cuts: tuple[float, ...] = (),
    tail: Tail | None = None,
) -> None:
    problem, tail = LinearProblem(*shape, variant.arithmetic), tail or tails_of(variant.arithmetic)[0]
    weight, x = random_layer(problem, density, variant, block)
    operands = tail.operands(problem, np.random.default_rng(1))
    y = run(LinearBlocked(variant.arithmetic), problem, {"x": x, **operands}, weight, tail.epilogue, variant.isa, cuts)
    total, scale = reference(problem, {"x": variant.exact(x)}, variant.exact(weight))
    assert_close(y, tail.apply(total, operands), allowed_error(variant.arithmetic, problem.inputs + 3, scale + 4))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, st.sampled_from(VARIANTS), st.sampled_from([0.0, 0.05, 0.5, 1.0]), blocks)
def test_agrees_with_numpy(
    shape: tuple[int, int, int], variant: Variant, density: float, block: tuple[int, int]
) -> None:
    check(shape, variant, density, block, (0.3, 0.6))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, st.sampled_from(VARIANTS), st.sampled_from([0.1, 0.6]), st.sampled_from([1, 24, 64]))
def test_inputs_beyond_the_cache(shape: tuple[int, int, int], variant: Variant, density: float, rows: int) -> None:
    """Sums that are held from one block of columns to the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_blocked, "L2_BYTES", 1000)
        patch.setattr(row_groups, "GROUP_ROWS", rows)
        check(shape, variant, density, cuts=(0.4,))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, st.sampled_from([(variant, tail) for variant in VARIANTS for tail in tails_of(variant.arithmetic)]))
def test_epilogues(shape: tuple[int, int, int], variant: tuple[Variant, Tail]) -> None:
    check(shape, variant[0], 0.2, cuts=(0.5,), tail=variant[1])


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("outputs", [1024, 2048])
def test_outputs_that_share_a_cache_set(variant: Variant, outputs: int) -> None:
    check((20, 30, outputs), variant, 0.2)


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
    problem = LinearProblem(96, 64, 128, variant.arithmetic)
    weight, _ = random_layer(problem, 0.2, variant, (pattern, 4))
    kernel, tail = LinearBlocked(variant.arithmetic), tails_of(variant.arithmetic)[0]
    lowered = compile_layer(kernel, problem, weight, tail.epilogue, variant.isa).lowered
    assert f"_blocked_{height}x" in lowered.calls[-1].function


def test_refuses_other_problems() -> None:
    assert KERNEL.refuses(ConvProblem(1, 1, 1, 1, ()), AVX512)
    assert KERNEL.refuses(LinearProblem(1, 4, 4), AVX512)
    assert KERNEL.refuses(LinearProblem(2, 4, 4, U8S8), AVX512)
    assert KERNEL.refuses(LinearProblem(2, 4, 4), AVX512) is None
