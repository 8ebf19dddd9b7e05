"""Linear layers on tile registers (emulated where the processor has none) whose weights a bitmap packs."""

from __future__ import annotations

import numpy as np
import pytest
from expected import allowed_error, assert_close, reference
from harness import Variant, run, to_llvm, variants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tails import Tail, tails_of
from torch_mlir import ir

from sparsec.kernels.arithmetic import BF16, F32, U8S8, Arithmetic
from sparsec.kernels.epilogue import identity
from sparsec.kernels.isa import AVX512_AMX, AVX512_BF16
from sparsec.kernels.linear_amx_bitmap import LinearAmxBitmap
from sparsec.kernels.problem import ConvProblem, LinearProblem
from sparsec.targets import TARGETS, backend

VARIANTS = [Variant(U8S8, AVX512_AMX), Variant(BF16, AVX512_AMX)]
needs_vectors = pytest.mark.skipif(not variants(BF16), reason="this processor has no AVX-512 BF16 and VBMI2")


@needs_vectors
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 64),
    st.integers(1, 300),
    st.integers(1, 100),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.sampled_from([(variant, tail) for variant in VARIANTS for tail in tails_of(variant.arithmetic)]),
)
def test_agrees_with_numpy(
    tokens: int, inputs: int, outputs: int, density: float, variant: tuple[Variant, Tail]
) -> None:
    (which, tail), random = variant, np.random.default_rng(0)
    problem = LinearProblem(tokens, inputs, outputs, which.arithmetic)
    x, w = which.activations((tokens, inputs), random), which.weights((outputs, inputs), random)
    w = np.where(random.random(w.shape) < density, w, np.zeros_like(w))
    operands = tail.operands(problem, random)
    kernel = LinearAmxBitmap(which.arithmetic)
    y = run(kernel, problem, {"x": x, **operands}, w, tail.epilogue, which.isa, (0.3, 0.6))
    total, scale = reference(problem, {"x": which.exact(x)}, which.exact(w))
    assert_close(y, tail.apply(total, operands), allowed_error(which.arithmetic, inputs, scale + 4))


@pytest.mark.parametrize(
    ("arithmetic", "product", "expand"), [(U8S8, "tdpbusd", "vpexpandb"), (BF16, "tdpbf16ps", "vpexpandw")]
)
def test_a_tile_is_made_once_for_four_products(arithmetic: Arithmetic, product: str, expand: str) -> None:
    weight = np.ones((64, 4096), np.float32)
    weight[:, 1::2] = 0
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        kernel = LinearAmxBitmap(arithmetic)
        kernel.lower(module, LinearProblem(64, 4096, 64, arithmetic), weight, identity(arithmetic.total), AVX512_AMX)
        text = backend.emit_assembly(to_llvm(module), TARGETS["x86-64-v4-amx"])
    found = [line.split()[0] for line in text.splitlines() if line.startswith("\t")]
    counts = {name: found.count(name) for name in (product, expand, "tileloadd", "tilestored", "tilezero")}
    assert counts == {product: 4, expand: 16, "tileloadd": 5, "tilestored": 4, "tilezero": 4}


@pytest.mark.parametrize("arithmetic", [U8S8, BF16])
def test_only_nonzeros_are_kept(arithmetic: Arithmetic) -> None:
    weight = np.zeros((32, 256), np.float32)
    weight[3, ::4] = 5
    with ir.Context(), ir.Location.unknown():
        problem = LinearProblem(8, 256, 32, arithmetic)
        lowered = LinearAmxBitmap(arithmetic).lower(
            ir.Module.create(), problem, weight, identity(arithmetic.total), AVX512_AMX
        )
    values, masks = lowered.weights["values"], lowered.weights["masks"]
    assert np.count_nonzero(values) == 64
    assert len(values) == 64 + 64 // values.itemsize
    assert int(np.bitwise_count(masks).sum()) == 64
    np.testing.assert_array_equal(lowered.weights["starts"], [0, 64, 64])


def test_problems_of_others_are_refused() -> None:
    kernel = LinearAmxBitmap()
    assert kernel.refuses(LinearProblem(64, 4, 4, U8S8), AVX512_AMX) is None
    assert kernel.refuses(LinearProblem(65, 4, 4, U8S8), AVX512_AMX) == "more than 64 tokens"
    assert kernel.refuses(LinearProblem(4, 4, 4, U8S8), AVX512_BF16) == "no tile registers"
    assert kernel.refuses(LinearProblem(4, 4, 4, F32), AVX512_AMX)
    assert kernel.refuses(ConvProblem(1, 4, 4, 1, (), U8S8), AVX512_AMX) == "not a linear layer"
