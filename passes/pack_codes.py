"""pack_codes: 64 whole numbers that become bytes are packed by the instructions that clamp them as they do.

Before:
    %a = arith.maxsi %x, 0   %b = arith.minsi %a, 255 : vector<64xi32>   %y = arith.trunci %b : vector<64xi32> to vector<64xi8>
After, on x86 with vectors of 64 bytes:
    %p = packssdw %x[0:16], %x[16:32]   %q = packssdw %x[32:48], %x[48:64]   %r = packuswb %p, %q   %y = permuted %r

To 16 bits with a sign and then to 8 without one is the same as both bounds. Four instructions take the place of fifteen.
Numbers that are bytes already, as their conversion says (nuw), need no bounds.
"""

from __future__ import annotations

from torch_mlir import ir
from torch_mlir.dialects import llvm, vector

from sparsec.ir.module import replace
from sparsec.kernels.emit import Vectors, shuffle
from sparsec.passes.codes import operation
from sparsec.passes.unit import Unit

_LANES, _WORD = 64, 16  # codes of a vector, and numbers of one
_GREATEST = 255


def pack_codes(unit: Unit) -> None:
    """Rewrite every such conversion, also in finished kernels."""
    if unit.isa.rounds_to_integers != "cvtps2dq" or unit.isa.vector_bytes != _LANES:
        return
    found = list[ir.Operation]()

    def collect(op: ir.Operation) -> ir.WalkResult:
        if op.name == "arith.trunci" and str(op.results[0].type) == f"vector<{_LANES}xi8>":
            found.append(op)
        return ir.WalkResult.ADVANCE

    unit.module.operation.walk(collect)
    with unit.module.context:
        for cast in found:
            numbers = cast.operands[0] if _is_unsigned(cast) else _clamped(cast.operands[0])
            if numbers is not None:
                with cast.location, ir.InsertionPoint(cast):
                    codes = _packed(numbers)
                replace(cast, [codes])


def _is_unsigned(cast: ir.Operation) -> bool:
    """Whether it is known that what is converted is a byte without a sign."""
    return "overflowFlags" in cast.attributes and "nuw" in str(cast.attributes["overflowFlags"])


def _clamped(value: ir.Value) -> ir.Value | None:
    """What is between 0 and _GREATEST in `value`; None if it is something else."""
    least = operation(value, "arith.minsi")
    most = operation(least.operands[0], "arith.maxsi") if least is not None else None
    if least is None or most is None or str(value.type) != f"vector<{_LANES}xi32>":
        return None
    return most.operands[0] if (_splat(most.operands[1]), _splat(least.operands[1])) == (0, _GREATEST) else None


def _splat(value: ir.Value) -> int | None:
    """The number in all lanes of a constant."""
    made = operation(value, "arith.constant")
    if made is None:
        return None
    elements = ir.DenseIntElementsAttr(made.attributes["value"])
    return int(elements[0]) if elements.is_splat else None


def _packed(numbers: ir.Value) -> ir.Value:
    """Bytes of 64 numbers. Instructions pack inside every 16 bytes: of each of the four vectors four numbers."""
    parts = [shuffle(numbers, numbers, range(first, first + _WORD)) for first in range(0, _LANES, _WORD)]
    halves = [_call("packssdw", Vectors(2 * _WORD, "i16").type, *parts[first : first + 2]) for first in (0, 2)]
    words = vector.bitcast(Vectors(_WORD, "i32").type, _call("packuswb", Vectors(_LANES, "i8").type, *halves))
    places = [lane * 4 + part for part in range(4) for lane in range(4)]
    return vector.bitcast(Vectors(_LANES, "i8").type, shuffle(words, words, places))


def _call(instruction: str, result: ir.Type, *operands: ir.Value) -> ir.Value:
    return llvm.call_intrinsic(result, ir.StringAttr.get(f"llvm.x86.avx512.{instruction}.512"), operands, [], [])
