"""Linear layers of bytes on tile registers (emulated where the processor has none) that leave out columns."""

from __future__ import annotations

import numpy as np
import pytest
from expected import assert_close, reference
from harness import Variant, run, to_llvm, variants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tails import WHOLE_TAILS, Tail
from torch_mlir import ir

from sparsec.formats.coo import Coo
from sparsec.kernels.arithmetic import BF16, U8S8
from sparsec.kernels.epilogue import identity
from sparsec.kernels.isa import AVX512_AMX, AVX512_BF16
from sparsec.kernels.linear_amx_gathered import LinearAmxGathered
from sparsec.kernels.problem import ConvProblem, LinearProblem
from sparsec.targets import TARGETS, backend

KERNEL = LinearAmxGathered()
VARIANT = Variant(U8S8, AVX512_AMX)
needs_vectors = pytest.mark.skipif(not variants(BF16), reason="this processor has no AVX-512 BF16 and VBMI2")


@needs_vectors
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(16, 150),
    st.integers(1, 300),
    st.integers(1, 100),
    st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    st.sampled_from([1, 16]),
    st.sampled_from(WHOLE_TAILS),
)
def test_agrees_with_numpy(tokens: int, inputs: int, outputs: int, density: float, height: int, tail: Tail) -> None:
    problem, random = LinearProblem(tokens, inputs, outputs, U8S8), np.random.default_rng(0)
    kept = np.repeat(random.random((-(-outputs // height), inputs)) < density, height, axis=0)[:outputs]
    weight = VARIANT.weights((outputs, inputs), random) * kept
    x = VARIANT.activations((tokens, inputs), random)
    operands = tail.operands(problem, random)
    y = run(KERNEL, problem, {"x": x, **operands}, weight, tail.epilogue, AVX512_AMX, (0.3, 0.6))
    total, scale = reference(problem, {"x": x}, weight)
    assert_close(y, tail.apply(total, operands), np.zeros_like(scale))


@needs_vectors
def test_the_largest_sums_are_exact() -> None:
    problem = LinearProblem(16, 6500, 2, U8S8)
    weight = np.full((2, 6500), -128, np.int8)
    weight[1, 1::2] = 0
    y = run(KERNEL, problem, {"x": np.full((16, 6500), 255, np.uint8)}, weight, identity("i32"), AVX512_AMX)
    np.testing.assert_array_equal(y, np.tile([-128 * 255 * 6500, -128 * 255 * 3250], (16, 1)))


def test_sums_of_four_vectors_stay_in_registers() -> None:
    weight = Coo((64, 256), np.arange(0, 64 * 256, 5), np.ones(3277, np.int8))
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        lowered = KERNEL.lower(module, LinearProblem(128, 256, 64, U8S8), weight, identity("i32"), AVX512_AMX)
        text = backend.emit_assembly(to_llvm(module), TARGETS["x86-64-v4-amx"])
    found = [line.split()[0] for line in text.splitlines() if line.startswith("\t")]
    counts = {name: found.count(name) for name in ("tdpbsud", "tileloadd", "tilestored", "tilezero")}
    assert counts == {"tdpbsud": 4, "tileloadd": 5, "tilestored": 4, "tilezero": 4}
    assert len(lowered.weights["values"]) == 4 * 4 * 256


def test_problems_of_others_are_refused() -> None:
    assert KERNEL.refuses(LinearProblem(16, 4, 4, U8S8), AVX512_AMX) is None
    assert KERNEL.refuses(LinearProblem(16, 4, 4, U8S8), AVX512_BF16) == "no tile registers"
    assert KERNEL.refuses(LinearProblem(15, 4, 4, U8S8), AVX512_AMX) == "fewer than 16 tokens"
    assert KERNEL.refuses(LinearProblem(16, 4, 4, BF16), AVX512_AMX)
    assert KERNEL.refuses(ConvProblem(1, 4, 4, 1, (), U8S8), AVX512_AMX) == "not a linear layer"
