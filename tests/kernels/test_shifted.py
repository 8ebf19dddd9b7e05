"""Signed dot products for unsigned activations: the epilogue that mends sums. (tests/aarch64 runs the kernels.)"""

from __future__ import annotations

import numpy as np
from tails import DEQUANTISED, WHOLE
from torch_mlir import ir

from sparsec.formats.coo import Coo
from sparsec.kernels.arithmetic import F32, U8S8
from sparsec.kernels.epilogue import IDENTITY, Epilogue, Reach
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.kernel import LoweredLayer, Weight
from sparsec.kernels.linear_dense import LinearDense
from sparsec.kernels.problem import LinearProblem
from sparsec.kernels.shifted import Shifted
from sparsec.kernels.words import words_of

SIGNED = Isa("neon", 16, 32, masks=False, bytes_dot="sdot")
PROBLEM = LinearProblem(3, 5, 4, U8S8)
WEIGHT = np.arange(-10, 10, dtype=np.int8).reshape(4, 5)


def lower(weight: Weight, epilogue: Epilogue, isa: Isa, problem: LinearProblem = PROBLEM) -> LoweredLayer:
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        lowered = Shifted(LinearDense(problem.arithmetic)).lower(module, problem, weight, epilogue, isa)
        assert module.operation.verify()
        return lowered


def test_each_output_gets_the_sum_of_its_weights_back() -> None:
    for weight in (WEIGHT, Coo.from_dense(WEIGHT)):
        mended = lower(weight, WHOLE.epilogue, SIGNED).weights["epilogue.0"]
        np.testing.assert_array_equal(mended, 128 * WEIGHT.astype(np.int32).sum(axis=1))


def test_it_is_the_last_operand_of_an_epilogue() -> None:
    lowered = lower(WEIGHT, DEQUANTISED.epilogue, SIGNED)
    assert "epilogue.3" in lowered.weights
    assert {f"epilogue.{i}" for i in range(4)} <= set(lowered.calls[-1].arguments)
    assert len(DEQUANTISED.epilogue.operands) == 3
    assert DEQUANTISED.epilogue.operands[0].reach is Reach.CHANNEL


def test_other_instructions_and_floats_are_left_alone() -> None:
    assert "epilogue.0" not in lower(WEIGHT, WHOLE.epilogue, AVX512).weights
    floats = LinearProblem(3, 5, 4, F32)
    assert "epilogue.0" not in lower(WEIGHT.astype(np.float32), IDENTITY, SIGNED, floats).weights


def test_words_are_shifted_with_their_padding() -> None:
    words = words_of(U8S8, SIGNED)
    assert words is not None
    assert words.padding(128) == 0
    assert words.padding(0) == np.array([-128] * 4, np.int8).view(np.int32)[0]
    assert not words.direct(8)
