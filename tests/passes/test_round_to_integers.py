"""round_to_integers: what becomes one instruction, by instruction set."""

from __future__ import annotations

import pytest
from torch_mlir import ir

from sparsec.ir.context import make_context
from sparsec.ir.weights import WeightStore
from sparsec.kernels.isa import AVX2, Isa
from sparsec.passes.round_to_integers import round_to_integers
from sparsec.passes.unit import Unit

NEON = Isa("neon", 16, 32, masks=False, rounds_to_integers="fcvtns")
WASM = Isa("v128", 16, 15, masks=False)


def rewritten(kind: str, isa: Isa) -> str:
    """A function that rounds values of this shape, after the pass."""
    floats, integers = kind.format("f32"), kind.format("i32")
    with make_context():
        module = ir.Module.parse(f"""
          func.func @f(%x: {floats}) -> {integers} {{
            %r = math.roundeven %x : {floats}
            %i = arith.fptosi %r : {floats} to {integers}
            return %i : {integers}
          }}""")
        round_to_integers(Unit(module, WeightStore(), isa))
        assert module.operation.verify()
        return str(module)


@pytest.mark.parametrize(("kind", "count"), [("vector<4x{}>", 1), ("vector<16x{}>", 4)])
def test_each_four_lanes_are_an_instruction_of_arm(kind: str, count: int) -> None:
    text = rewritten(kind, NEON)
    assert text.count("llvm.aarch64.neon.fcvtns") == count
    assert "roundeven" not in text


@pytest.mark.parametrize("kind", ["{}", "vector<2x{}>"])
def test_what_is_shorter_stays_for_the_vectoriser(kind: str) -> None:
    assert "math.roundeven" in rewritten(kind, NEON)


@pytest.mark.parametrize("kind", ["{}", "vector<8x{}>"])
def test_x86_rounds_by_its_mode(kind: str) -> None:
    assert rewritten(kind, AVX2).count("llvm.lrint") == 1


def test_other_instruction_sets_keep_both_steps() -> None:
    assert "math.roundeven" in rewritten("vector<4x{}>", WASM)
