"""round_to_integers: a number that is rounded to the nearest whole one, ties to even, only to be an integer is rounded by the conversion.

Before:
    %r = math.roundeven %x : vector<16xf32>   %i = arith.fptosi %r : vector<16xf32> to vector<16xi32>
After:
    %i = llvm.call_intrinsic "llvm.lrint"(%x) : (vector<16xf32>) -> vector<16xi32>

Nothing here changes the rounding mode, which is to the nearest, ties to even.
"""

from __future__ import annotations

from torch_mlir import ir
from torch_mlir.dialects import llvm

from sparsec.ir.module import replace
from sparsec.passes.codes import operation
from sparsec.passes.unit import Unit


def round_to_integers(unit: Unit) -> None:
    """Rewrite every such conversion from f32 to i32, also in finished kernels, where the ISA has an instruction for it."""
    if not unit.isa.rounds_to_integers:
        return
    found: list[ir.Operation] = []

    def collect(op: ir.Operation) -> ir.WalkResult:
        if op.name == "arith.fptosi":
            found.append(op)
        return ir.WalkResult.ADVANCE

    unit.module.operation.walk(collect)
    with unit.module.context:
        for conversion in found:
            _rewrite(conversion)


def _rewrite(conversion: ir.Operation) -> None:
    rounding = operation(conversion.operands[0], "math.roundeven")
    if rounding is None or _element(conversion.results[0]) != "i32" or _element(rounding.results[0]) != "f32":
        return
    with conversion.location, ir.InsertionPoint(conversion):
        name = ir.StringAttr.get("llvm.lrint")
        whole = llvm.call_intrinsic(conversion.results[0].type, name, list(rounding.operands), [], [])
    replace(conversion, [whole])
    if not any(True for _ in rounding.results[0].uses):
        rounding.erase()


def _element(value: ir.Value) -> str:
    """The type of a number, or of those of a vector."""
    return str(value.type.element_type if isinstance(value.type, ir.VectorType) else value.type)
