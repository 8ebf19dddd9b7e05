"""Linear layers of bytes whose words are gathered from any four columns, against whole numbers of NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from expected import assert_close, reference
from harness import Variant, compile_layer, run, variants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tails import WHOLE_TAILS, Tail

from sparsec.kernels.arithmetic import U8S8
from sparsec.kernels.epilogue import identity
from sparsec.kernels.isa import AVX2, AVX512_AMX, AVX512_BF16
from sparsec.kernels.linear_gathered import LinearGathered, tiles_of
from sparsec.kernels.problem import ConvProblem, LinearProblem

KERNEL = LinearGathered()
VARIANTS = [each for each in variants(U8S8) if KERNEL.refuses(LinearProblem(4, 1, 1, U8S8), each.isa) is None]
sizes = st.one_of(st.integers(1, 20), st.integers(21, 150))
shapes = st.tuples(sizes.filter(lambda tokens: tokens >= 4), sizes, sizes)
pytestmark = pytest.mark.skipif(not VARIANTS, reason="this machine multiplies no words of four bytes")


def check(
    shape: tuple[int, int, int],
    variant: Variant,
    density: float,
    height: int = 1,
    tail: Tail = WHOLE_TAILS[0],
    cuts: tuple[float, ...] = (),
) -> None:
    problem, random = LinearProblem(*shape, U8S8), np.random.default_rng(0)
    kept = np.repeat(random.random((-(-problem.outputs // height), problem.inputs)) < density, height, axis=0)
    weight = variant.weights((problem.outputs, problem.inputs), random) * kept[: problem.outputs]
    x = variant.activations((problem.tokens, problem.inputs), random)
    operands = tail.operands(problem, random)
    y = run(KERNEL, problem, {"x": x, **operands}, weight, tail.epilogue, variant.isa, cuts)
    total, scale = reference(problem, {"x": x}, weight)
    assert_close(y, tail.apply(total, operands), np.zeros_like(scale))


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, st.sampled_from(VARIANTS or [None]), st.sampled_from([0.0, 0.05, 0.5, 1.0]), st.sampled_from([1, 4, 16]))
def test_agrees_with_numpy(shape: tuple[int, int, int], variant: Variant, density: float, height: int) -> None:
    check(shape, variant, density, height, cuts=(0.3, 0.6))


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, st.sampled_from(VARIANTS or [None]), st.sampled_from(WHOLE_TAILS))
def test_epilogues(shape: tuple[int, int, int], variant: Variant, tail: Tail) -> None:
    check(shape, variant, 0.2, tail=tail, cuts=(0.5,))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("tokens", [5, 20, 70])
def test_tokens_that_are_a_page_apart(tokens: int, variant: Variant) -> None:
    check((tokens, 4096, 20), variant, 0.02, cuts=(0.4,))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("density", [0.0, 0.003, 0.1])
@pytest.mark.parametrize("tokens", [9, 15, 16, 17, 25, 32])
def test_words_beside_each_other_in_blocks_of_columns(tokens: int, density: float, variant: Variant) -> None:
    check((tokens, 3333, 21), variant, density, tail=WHOLE_TAILS[-1], cuts=(0.4,))


@pytest.mark.parametrize(("tokens", "height", "beside"), [(16, 1, 1), (17, 1, 2), (32, 1, 2), (32, 4, 1), (33, 1, 1)])
def test_single_rows_have_two_words_beside_each_other_for_few_tokens(tokens: int, height: int, beside: int) -> None:
    tiling = tiles_of(LinearProblem(tokens, 3072, 768, U8S8), height, AVX512_BF16)
    assert (tiling.beside, tiling.tokens.lanes) == (beside, 16 // beside)
    assert tiling.parts == beside  # of rows of 32 bytes
    assert tiles_of(LinearProblem(tokens, 3072, 768, U8S8), height, AVX512_AMX).beside == 1


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_largest_sums_are_exact(variant: Variant) -> None:
    problem = LinearProblem(16, 65000, 2, U8S8)
    weight = np.full((2, 65000), -128, np.int8)
    weight[1, 1::2] = 0
    y = run(KERNEL, problem, {"x": np.full((16, 65000), 255, np.uint8)}, weight, identity("i32"), variant.isa)
    np.testing.assert_array_equal(y, np.tile([-128 * 255 * 65000, -128 * 255 * 32500], (16, 1)))


@pytest.mark.parametrize(("pattern", "height"), [(1, 1), (4, 4), (16, 4)])
def test_the_height_of_the_blocks_follows_the_weight(pattern: int, height: int) -> None:
    kept = np.repeat(np.random.default_rng(0).random((128 // pattern, 64)) < 0.1, pattern, axis=0)
    isa = AVX512_BF16
    lowered = compile_layer(
        KERNEL, LinearProblem(96, 64, 128, U8S8), kept.astype(np.int8), identity("i32"), isa
    ).lowered
    assert f"_gathered_{height}x" in lowered.calls[-1].function


def test_refuses_other_problems() -> None:
    assert KERNEL.refuses(ConvProblem(1, 1, 1, 1, (), U8S8), AVX512_BF16)
    assert KERNEL.refuses(LinearProblem(64, 4, 4), AVX512_BF16)
    assert KERNEL.refuses(LinearProblem(3, 4, 4, U8S8), AVX512_BF16)
    assert KERNEL.refuses(LinearProblem(64, 4, 4, U8S8), AVX2)
    assert KERNEL.refuses(LinearProblem(64, 4, 4, U8S8), AVX512_BF16) is None
