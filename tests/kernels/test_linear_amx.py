"""The dense linear layer on tile registers, which are emulated where the processor has none."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from expected import allowed_error, assert_close, reference
from harness import Variant, run, to_llvm, variants
from hypothesis import given, settings
from hypothesis import strategies as st
from tails import Tail, tails_of
from torch_mlir import ir

from sparsec.kernels.arithmetic import BF16, F32, U8S8, Arithmetic
from sparsec.kernels.epilogue import identity
from sparsec.kernels.index import Index
from sparsec.kernels.isa import AVX512, AVX512_AMX, AVX512_BF16
from sparsec.kernels.linear_amx import LinearAmx
from sparsec.kernels.problem import ConvProblem, LinearProblem
from sparsec.kernels.tile_blocks import TileBlocks
from sparsec.kernels.words import words_of
from sparsec.targets import TARGETS, backend

VARIANTS = [Variant(U8S8, AVX512_AMX), Variant(BF16, AVX512_AMX)]
needs_vectors = pytest.mark.skipif(not variants(BF16), reason="this processor has no AVX-512 BF16 and VBMI2")


def assembly(problem: LinearProblem) -> list[str]:
    """The instructions of the kernel for a problem."""
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        weight = np.ones((problem.outputs, problem.inputs), np.float32)
        LinearAmx(problem.arithmetic).lower(module, problem, weight, identity(problem.arithmetic.total), AVX512_AMX)
        text = backend.emit_assembly(to_llvm(module), TARGETS["x86-64-v4-amx"])
    return [line.split()[0] for line in text.splitlines() if line.startswith("\t")]


@pytest.mark.parametrize(("arithmetic", "product"), [(U8S8, "tdpbusd"), (BF16, "tdpbf16ps")])
def test_four_tiles_of_sums_stay_in_registers(arithmetic: Arithmetic, product: str) -> None:
    found = assembly(LinearProblem(128, 256, 96, arithmetic))
    counts = {name: found.count(name) for name in (product, "tileloadd", "tilestored", "tilezero", "ldtilecfg")}
    assert counts == {product: 4, "tileloadd": 4, "tilestored": 4, "tilezero": 4, "ldtilecfg": 1}


@pytest.mark.parametrize("arithmetic", [U8S8, BF16])
@pytest.mark.parametrize("shape", [(37, 100, 50), (1, 3, 5), (16, 64, 16), (130, 257, 48)])
def test_functions_agree_on_the_size_of_what_they_share(arithmetic: Arithmetic, shape: tuple[int, int, int]) -> None:
    problem = LinearProblem(*shape, arithmetic)
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        weight = np.ones((problem.outputs, problem.inputs), np.float32)
        lowered = LinearAmx(arithmetic).lower(module, problem, weight, identity(arithmetic.total), AVX512_AMX)
        sizes = {name: len(array) for name, array in lowered.weights.items()}
        sizes |= {name: size for name, (_, size) in lowered.scratch.items()}
        symbols = ir.SymbolTable(module.operation)
        for call in lowered.calls:
            types = ir.FunctionType(ir.TypeAttr(symbols[call.function].attributes["function_type"]).value).inputs
            for name, kind in zip(call.arguments, types, strict=False):
                assert ir.MemRefType(kind).shape[0] == sizes.get(name, ir.MemRefType(kind).shape[0])


def test_problems_of_others_are_refused() -> None:
    kernel = LinearAmx()
    assert kernel.refuses(LinearProblem(4, 4, 4, U8S8), AVX512_AMX) is None
    assert kernel.refuses(LinearProblem(4, 4, 4, U8S8), AVX512_BF16) == "no tile registers"
    assert kernel.refuses(LinearProblem(4, 4, 4, U8S8), AVX512) == "no tile registers"
    assert kernel.refuses(LinearProblem(4, 4, 4, F32), AVX512_AMX)
    assert kernel.refuses(ConvProblem(1, 4, 4, 1, (), U8S8), AVX512_AMX) == "not a linear layer"


@needs_vectors
@settings(max_examples=60)
@given(
    st.integers(0, 70),
    st.integers(1, 300),
    st.integers(0, 100),
    st.sampled_from([(variant, tail) for variant in VARIANTS for tail in tails_of(variant.arithmetic)]),
    st.lists(st.floats(0, 1), max_size=3),
)
def test_agrees_with_numpy(
    tokens: int, inputs: int, outputs: int, variant: tuple[Variant, Tail], cuts: list[float]
) -> None:
    (which, tail), random = variant, np.random.default_rng(0)
    problem = LinearProblem(tokens, inputs, outputs, which.arithmetic)
    x, w = which.activations((tokens, inputs), random), which.weights((outputs, inputs), random)
    operands = tail.operands(problem, random)
    y = run(LinearAmx(which.arithmetic), problem, {"x": x, **operands}, w, tail.epilogue, which.isa, tuple(cuts))
    total, scale = reference(problem, {"x": which.exact(x)}, which.exact(w))
    assert_close(y, tail.apply(total, operands), allowed_error(which.arithmetic, inputs, scale + 4))


@given(st.integers(1, 700), st.sampled_from([64, 4096, 11008]), st.integers(1, 300), st.sampled_from([(2, 2), (1, 3)]))
def test_units_are_all_blocks(tokens: int, inputs: int, outputs: int, most: tuple[int, int]) -> None:
    words = words_of(U8S8, AVX512_AMX)
    assert words is not None
    blocks = TileBlocks.of(LinearProblem(tokens, inputs, outputs, U8S8), words, most=most)
    units = blocks.down.parts * blocks.across.parts
    with ir.Context(), ir.Location.unknown():
        places = [[each.known for each in blocks.place(Index(unit))] for unit in range(units)]
    assert sorted((down, across) for down, _, across in places) == [
        (down, across) for down in range(blocks.down.parts) for across in range(blocks.across.parts)
    ]
    for before, after in pairwise(places):  # the same outputs in turn, as often as there are such
        assert after[1] == 0 or after == [before[0] + 1, before[1] + 1, before[2]]


@needs_vectors
def test_tokens_beyond_level_2_cache() -> None:
    """Blocks of tokens in several groups, the last of them smaller."""
    problem, random = LinearProblem(330, 11008, 20, U8S8), np.random.default_rng(0)
    x, weight = VARIANTS[0].activations((330, 11008), random), VARIANTS[0].weights((20, 11008), random)
    y = run(LinearAmx(), problem, {"x": x}, weight, identity("i32"), AVX512_AMX)
    np.testing.assert_array_equal(y, x.astype(np.int64) @ weight.astype(np.int64).T)
