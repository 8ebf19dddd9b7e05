"""round_to_integers: a number that is rounded to the nearest whole one, ties to even, only to be an integer is rounded by the conversion.

Before:
    %r = math.roundeven %x : vector<16xf32>   %i = arith.fptosi %r : vector<16xf32> to vector<16xi32>
After, on x86:
    %i = llvm.call_intrinsic "llvm.lrint"(%x) : (vector<16xf32>) -> vector<16xi32>
On ARM, of each four lanes:
    %i = llvm.call_intrinsic "llvm.aarch64.neon.fcvtns"(%x) : (vector<4xf32>) -> vector<4xi32>

Nothing here changes the rounding mode, which is to the nearest, ties to even.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch_mlir import ir
from torch_mlir.dialects import llvm

from sparsec.ir.module import replace
from sparsec.kernels.emit import joined, shuffle
from sparsec.passes.codes import operation
from sparsec.passes.unit import Unit


def round_to_integers(unit: Unit) -> None:
    """Rewrite every such conversion from f32 to i32, also in finished kernels, where the ISA has an instruction for it."""
    if unit.isa.rounds_to_integers is None:
        return
    convert, found = _CONVERSIONS[unit.isa.rounds_to_integers], list[ir.Operation]()

    def collect(op: ir.Operation) -> ir.WalkResult:
        if op.name == "arith.fptosi":
            found.append(op)
        return ir.WalkResult.ADVANCE

    unit.module.operation.walk(collect)
    with unit.module.context:
        for conversion in found:
            _rewrite(conversion, convert)


Convert = Callable[[ir.Value, ir.Type], ir.Value | None]  # (floats, type of the integers); None if it cannot


def _rewrite(conversion: ir.Operation, convert: Convert) -> None:
    rounding = operation(conversion.operands[0], "math.roundeven")
    if rounding is None or _element(conversion.results[0]) != "i32" or _element(rounding.results[0]) != "f32":
        return
    with conversion.location, ir.InsertionPoint(conversion):
        whole = convert(rounding.operands[0], conversion.results[0].type)
    if whole is None:
        return
    replace(conversion, [whole])
    if not any(True for _ in rounding.results[0].uses):
        rounding.erase()


def _by_mode(floats: ir.Value, integers: ir.Type) -> ir.Value:
    """As the rounding mode says; numbers and vectors of any shape."""
    return llvm.call_intrinsic(integers, ir.StringAttr.get("llvm.lrint"), [floats], [], [])


def _by_fours(floats: ir.Value, integers: ir.Type) -> ir.Value | None:
    """Only of vectors: a number may be in a loop that LLVM is to vectorise, and that knows what is before."""
    lanes = ir.VectorType(floats.type).shape if isinstance(floats.type, ir.VectorType) else []
    if len(lanes) != 1 or lanes[0] % 4 or lanes[0] & lanes[0] - 1:
        return None
    name, kind = ir.StringAttr.get("llvm.aarch64.neon.fcvtns"), ir.VectorType.get([4], ir.IntegerType.get_signless(32))
    fours = [shuffle(floats, floats, range(first, first + 4)) for first in range(0, lanes[0], 4)]
    parts = [llvm.call_intrinsic(kind, name, [four], [], []) for four in (fours if lanes[0] > 4 else [floats])]
    return joined(parts)


_CONVERSIONS: Mapping[str, Convert] = {"cvtps2dq": _by_mode, "fcvtns": _by_fours}


def _element(value: ir.Value) -> str:
    """The type of a number, or of those of a vector."""
    return str(value.type.element_type if isinstance(value.type, ir.VectorType) else value.type)
