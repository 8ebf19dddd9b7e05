"""Builder and Expr: the operations that formulas become."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch_mlir import ir

from sparsec.ir.expr import Builder, Expr


def emitted(types: str, formula: Callable[..., Expr], *, fastmath: str = "contract", hoist: bool = False) -> list[str]:
    """The operations that `formula` of arguments of `types` (comma-separated) becomes, one line each."""
    with ir.Context(), ir.Location.unknown():
        parameters = ", ".join(f"%a{k}: {kind}" for k, kind in enumerate(types.split(", ")))
        module = ir.Module.parse(f"func.func @f({parameters}) {{ return }}")
        block = module.body.operations[0].regions[0].blocks[0]
        builder = Builder(
            ir.InsertionPoint.at_block_terminator(block),
            ir.Location.unknown(),
            fastmath=fastmath,
            constants=block if hoist else None,
        )
        formula(*(builder.wrap(argument) for argument in block.arguments))
        assert module.operation.verify()
        return [line.strip() for line in str(module).splitlines()[2:-3]]


def test_numbers_become_constants_of_the_other_operand() -> None:
    assert emitted("f32", lambda x: 1.0 - x * 2) == [
        "%cst = arith.constant 2.000000e+00 : f32",
        "%0 = arith.mulf %arg0, %cst fastmath<contract> : f32",
        "%cst_0 = arith.constant 1.000000e+00 : f32",
        "%1 = arith.subf %cst_0, %0 fastmath<contract> : f32",
    ]


def test_same_formula_on_vectors_and_other_flags() -> None:
    assert emitted("vector<4xf32>", lambda x: 1.0 / x, fastmath="reassoc,contract") == [
        "%cst = arith.constant dense<1.000000e+00> : vector<4xf32>",
        "%0 = arith.divf %cst, %arg0 fastmath<reassoc,contract> : vector<4xf32>",
    ]


def test_hoisted_constants_are_shared() -> None:
    lines = emitted("f32", lambda x: (x + 1.0) * 1.0 + 2.0, hoist=True)
    assert [line.split(" = ")[1].split()[0] for line in lines] == [
        "arith.constant",
        "arith.constant",
        "arith.addf",
        "arith.mulf",
        "arith.addf",
    ]


@pytest.mark.parametrize(
    ("types", "formula", "last"),
    [
        ("i32", lambda x: x & 0x80000000, "arith.andi %arg0, %c-2147483648_i32 : i32"),
        ("i32", lambda x: x >> 3, "arith.shrsi %arg0, %c3_i32 : i32"),
        ("index, index", lambda x, y: x * y, "arith.muli %arg0, %arg1 : index"),
        ("f32", lambda x: x < 0.0, "arith.cmpf olt, %arg0, %cst fastmath<contract> : f32"),
        ("i8", lambda x: x >= 0, "arith.cmpi sge, %arg0, %c0_i8 : i8"),
        ("vector<2xf64>", lambda x: x.bits(), "arith.bitcast %arg0 : vector<2xf64> to vector<2xi64>"),
        ("i32", lambda x: x.as_float(), "arith.bitcast %arg0 : i32 to f32"),
        ("i8", lambda x: x.to("i32"), "arith.extsi %arg0 : i8 to i32"),
        ("vector<2xi32>", lambda x: x.to("f32"), "arith.sitofp %arg0 : vector<2xi32> to vector<2xf32>"),
        ("i32", lambda x: x.to("index"), "arith.index_cast %arg0 : i32 to index"),
        ("f32", lambda x: x.to("bf16"), "arith.truncf %arg0 fastmath<contract> : f32 to bf16"),
        ("f32", lambda x: x.maximum(0.0), "arith.maximumf %arg0, %cst fastmath<contract> : f32"),
        ("f32, f32", lambda x, y: x.fma(y, x), "math.fma %arg0, %arg1, %arg0 fastmath<contract> : f32"),
        ("i1, f32", lambda c, x: c.builder.choose(c, 0.0, x), "arith.select %arg0, %cst, %arg1 : f32"),
    ],
)
def test_operation(types: str, formula: Callable[..., Expr], last: str) -> None:
    assert emitted(types, formula)[-1].split(" = ")[1] == last


def test_conversion_to_the_same_type_is_nothing() -> None:
    assert emitted("f32", lambda x: x.to("f32")) == []


def test_no_arithmetic_on_tensors() -> None:
    with pytest.raises(TypeError, match="no arithmetic on tensor"):
        emitted("tensor<4xf32>", lambda x: x + 1.0)
