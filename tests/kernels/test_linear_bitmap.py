"""Linear layers of a few tokens with bitmap weights against float64 and int64 NumPy."""

from __future__ import annotations

import ctypes
import mmap
from dataclasses import replace

import numpy as np
import pytest
from harness import Variant, compile_layer, host_isas, run, variants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layers import Shape, check_linear, check_that_rows_are_kept_apart, sizes
from numpy.typing import NDArray
from tails import TAILS, Tail

from sparsec.kernels.arithmetic import F32, U8S8
from sparsec.kernels.epilogue import Epilogue, EpilogueOperand, Reach, identity
from sparsec.kernels.isa import AVX2, AVX512, AVX512_BF16, Isa
from sparsec.kernels.linear_bitmap import MOST_TOKENS, LinearBitmap
from sparsec.kernels.problem import ConvProblem, LinearProblem

KERNEL, BYTES = LinearBitmap(), LinearBitmap(U8S8)
REQUANTISED = Epilogue(
    """func.func private @epilogue(%sum: i32, %bias: i32, %offset: i8) -> i8 {
      %0 = arith.addi %sum, %bias : i32
      %six = arith.constant 6 : i32
      %1 = arith.shrsi %0, %six : i32
      %2 = arith.trunci %1 : i32 to i8
      %3 = arith.addi %2, %offset : i8
      return %3 : i8
    }""",
    (EpilogueOperand(Reach.CHANNEL, "i32"), EpilogueOperand(Reach.FULL, "i8")),
    "i32",
    "i8",
)
ISAS = [isa for isa in host_isas() if isa.masks]
VARIANTS = [Variant(F32, isa) for isa in ISAS or [AVX512]]
few_tokens = st.tuples(st.integers(1, MOST_TOKENS[F32]), sizes, sizes)
BYTE_ISAS = [each.isa for each in variants(U8S8) if each.isa.expands_bytes]
byte_problems = st.builds(
    LinearProblem,
    st.integers(1, MOST_TOKENS[U8S8]),
    st.one_of(st.integers(1, 150), st.sampled_from([63, 64, 65, 127, 128, 256, 511])),
    sizes,
    st.just(U8S8),
)
expands_bytes = pytest.mark.skipif(not BYTE_ISAS, reason="this machine expands no vectors of bytes")
pytestmark = pytest.mark.skipif(not ISAS, reason="this machine expands no vectors under masks")


def ending_at_a_page(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """A copy that ends where memory that may not be read begins."""
    page = mmap.PAGESIZE
    size = -(-values.nbytes // page) * page
    whole = np.frombuffer(mmap.mmap(-1, size + page), dtype=np.uint8)
    protect = ctypes.CDLL(None).mprotect
    assert protect(ctypes.c_void_p(whole.ctypes.data + size), ctypes.c_size_t(page), 0) == 0
    placed = whole[size - values.nbytes : size].view(values.dtype)
    placed[:] = values
    return placed


def random_bytes(
    problem: LinearProblem, density: float
) -> tuple[NDArray[np.int8], NDArray[np.uint8], NDArray[np.int64]]:
    """A weight, x, and the exact sums."""
    random = np.random.default_rng(0)
    shape = (problem.outputs, problem.inputs)
    weight = np.where(random.random(shape) < density, random.integers(-128, 128, shape), 0).astype(np.int8)
    x = random.integers(0, 256, (problem.tokens, problem.inputs), dtype=np.uint8)
    return weight, x, x.astype(np.int64) @ weight.astype(np.int64).T


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(few_tokens, st.sampled_from(VARIANTS), st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_agrees_with_numpy(shape: Shape, variant: Variant, density: float) -> None:
    check_linear(KERNEL, shape, variant, density, cuts=(0.3, 0.6))


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(few_tokens, st.sampled_from(VARIANTS), st.sampled_from(TAILS))
def test_epilogues(shape: Shape, variant: Variant, tail: Tail) -> None:
    check_linear(KERNEL, shape, variant, 0.2, cuts=(0.5,), tail=tail)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("tokens", [1, 2, 4])
def test_an_output_sees_only_its_own_nonzeros(isa: Isa, tokens: int) -> None:
    check_that_rows_are_kept_apart(KERNEL, isa, tokens)


@pytest.mark.parametrize("outputs", [1, 2, 3, 5])
def test_rows_that_do_not_fill_a_group(outputs: int) -> None:
    check_linear(KERNEL, (1, 37, outputs), VARIANTS[0], 0.4)


@expands_bytes
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(byte_problems, st.sampled_from(BYTE_ISAS or [AVX512_BF16]), st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_sums_of_bytes_are_exact(problem: LinearProblem, isa: Isa, density: float) -> None:
    weight, x, expected = random_bytes(problem, density)
    y = run(BYTES, problem, {"x": x}, weight, identity("i32"), isa, cuts=(0.3, 0.6))
    np.testing.assert_array_equal(y, expected)


@expands_bytes
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(byte_problems)
def test_sums_become_bytes_again(problem: LinearProblem) -> None:
    weight, x, expected = random_bytes(problem, 0.3)
    random = np.random.default_rng(1)
    bias = random.integers(-1000, 1000, problem.outputs, dtype=np.int32)
    offset = random.integers(0, 256, expected.shape, dtype=np.uint8)
    y = run(
        BYTES, problem, {"x": x, "epilogue.0": bias, "epilogue.1": offset}, weight, REQUANTISED, BYTE_ISAS[0], (0.5,)
    )
    np.testing.assert_array_equal(y, (((expected + bias) >> 6) + offset) & 0xFF)


@expands_bytes
@pytest.mark.parametrize("value", [-128, 127])
def test_sums_of_the_largest_products(value: int) -> None:
    problem = LinearProblem(3, 4099, 5, U8S8)
    weight, x = np.full((5, 4099), value, np.int8), np.full((3, 4099), 255, np.uint8)
    y = run(BYTES, problem, {"x": x}, weight, identity("i32"), BYTE_ISAS[0])
    np.testing.assert_array_equal(y, np.full((3, 5), 4099 * 255 * value))


@expands_bytes
def test_a_weight_of_bytes_larger_than_level_2_cache() -> None:
    problem = LinearProblem(2, 1003, 2501, U8S8)
    weight, x, expected = random_bytes(problem, 0.5)
    weight[7:1200:3] = 0
    expected[:, 7:1200:3] = 0
    np.testing.assert_array_equal(run(BYTES, problem, {"x": x}, weight, identity("i32"), BYTE_ISAS[0]), expected)


@expands_bytes
@pytest.mark.parametrize("inputs", [1, 61, 64, 100, 128])
@pytest.mark.parametrize("outputs", [1, 3, 4])
def test_nothing_beyond_x_and_weights_is_read(inputs: int, outputs: int) -> None:
    problem = LinearProblem(2, inputs, outputs, U8S8)
    weight, x, expected = random_bytes(problem, 1.0)
    layer = compile_layer(BYTES, problem, weight, identity("i32"), BYTE_ISAS[0])
    placed = {name: ending_at_a_page(values) for name, values in layer.bind({"x": x}).items()}
    for call in layer.lowered.calls:
        layer.start(call, placed, 0, call.extent)
    np.testing.assert_array_equal(placed["y"].reshape(expected.shape), expected)


def test_refuses_bytes_that_nothing_expands() -> None:
    few = LinearProblem(1, 64, 4, U8S8)
    assert BYTES.refuses(few, AVX512_BF16) is None
    assert BYTES.refuses(few, replace(AVX512_BF16, expands_bytes=False)) == "no instruction expands bytes under a mask"
    assert BYTES.refuses(few, AVX512) == "avx512 multiplies no i8 as they are stored"
    assert BYTES.refuses(LinearProblem(MOST_TOKENS[U8S8] + 1, 64, 4, U8S8), AVX512_BF16)
    assert BYTES.refuses(LinearProblem(1, 64, 4), AVX512_BF16)
    assert KERNEL.refuses(few, AVX512_BF16)


def test_refuses_other_problems() -> None:
    assert KERNEL.refuses(ConvProblem(1, 1, 1, 1, ()), AVX512)
    assert KERNEL.refuses(LinearProblem(MOST_TOKENS[F32] + 1, 4, 4), AVX512)
    assert KERNEL.refuses(LinearProblem(1, 4, 4), AVX2)
    assert KERNEL.refuses(LinearProblem(1, 4, 4), AVX512) is None
