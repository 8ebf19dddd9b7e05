"""Words of reduced precision: how weights are packed and activations converted, against torch and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import Variant, place, run, variants
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sparsec.kernels.arithmetic import BF16, F32, U8S8
from sparsec.kernels.isa import AVX2, AVX512, AVX512_BF16
from sparsec.kernels.linear_dense import LinearDense
from sparsec.kernels.problem import LinearProblem
from sparsec.kernels.words import refusal, words_of

ANY = st.floats(width=32, allow_nan=False, allow_infinity=True)


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=ANY))
def test_bfloat16_weights_are_rounded_to_nearest_even(matrix: np.ndarray) -> None:
    words = words_of(BF16, AVX512_BF16)
    assert words is not None
    packed = words.encode(matrix)
    assert packed.shape == (len(matrix), -(-matrix.shape[1] // 2))
    pairs = packed.view(np.uint16)[:, : matrix.shape[1]]
    expected = torch.from_numpy(matrix).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(pairs, expected)
    assert not packed.view(np.uint16)[:, matrix.shape[1] :].any()


def test_nan_stays_nan() -> None:
    words = words_of(BF16, AVX512_BF16)
    assert words is not None
    nans = np.array([[0x7F800001, 0xFFC00000, 0x7FFFFFFF, 0xFF800001]], np.uint32).view(np.float32)
    bits = words.encode(nans).view(np.uint16).astype(np.uint32) << 16
    assert np.isnan(bits.view(np.float32)).all()


@pytest.mark.parametrize(("isa", "instruction"), [(AVX512_BF16, "vpdpbusd"), (AVX512, "vpmaddwd"), (AVX2, "vpmaddwd")])
def test_bytes_lie_in_words_in_order(isa: object, instruction: str) -> None:
    words = words_of(U8S8, isa)  # type: ignore[arg-type]
    assert words is not None
    assert words.instruction == instruction
    row = np.array([[-128, 127, 0, 1, -1]], np.int8)
    packed = words.encode(row)
    kind = {4: np.int8, 2: np.int16}[words.group]
    np.testing.assert_array_equal(packed.view(kind)[0, :5], row[0])
    assert packed.dtype == np.int32
    assert (words.direct(8), words.direct(9)) == (words.group == 4, False)


@pytest.mark.parametrize("variant", variants(BF16), ids=str)
@pytest.mark.parametrize("inputs", [1, 2, 3, 31, 33])
def test_activations_are_converted_as_torch_does(variant: Variant, inputs: int) -> None:
    """A weight of ones in one column copies that input out."""
    random = np.random.default_rng(inputs)
    x = random.standard_normal((5, inputs), dtype=np.float32)
    x[0, 0], x[1, -1] = np.inf, np.nan
    x[2, 0] = np.float32(1 + 2**-8)  # a tie
    problem = LinearProblem(5, inputs, inputs, BF16)
    y = run(LinearDense(BF16), problem, {"x": place(x)}, np.eye(inputs, dtype=np.float32), isa=variant.isa)
    finite = np.isfinite(x).all(axis=1)
    np.testing.assert_array_equal(y[finite], variant.exact(x)[finite])
    assert np.isposinf(y[0, 0])
    assert np.isnan(y[1]).all()


def test_refusals_say_why() -> None:
    assert refusal(F32, F32, AVX2) is None
    assert refusal(BF16, F32, AVX512_BF16) == "it computes f32, not bf16"
    assert refusal(BF16, BF16, AVX512) == "avx512 has no instruction for bf16"
