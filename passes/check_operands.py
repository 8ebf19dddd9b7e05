"""check_operands: an index or an integer divisor that comes from data is checked before it is used.

Before:
    %i = arith.index_cast %data : i64 to index   ...   %v = memref.load %x[%i, %j] : memref<5x6xf32>
After:
    %ok = arith.cmpi ult, %i, %c5 : index
    cf.assert %ok, "an index is out of range of an axis of length 5"
    %v = memref.load %x[%i, %j] : memref<5x6xf32>

Upstream lowering checks some gathers and not others; an index from outside would read foreign memory, and a division
without a result ends the process on x86. Indices made of loop counters and constants only are the compiler's own.
"""

from __future__ import annotations

from torch_mlir import ir
from torch_mlir.dialects import arith, cf

from sparsec.ir.module import block_walk, shape_of

_INDICES = {"memref.load": 1, "memref.store": 2}  # the position of the first index
_SIGNED = ("arith.divsi", "arith.remsi", "arith.floordivsi", "arith.ceildivsi")
_UNSIGNED = ("arith.divui", "arith.remui", "arith.ceildivui")
_LOOPS = ("scf.for", "scf.parallel")
_PURE = ("arith.", "math.", "affine.")


def check_operands(function: ir.Operation) -> None:
    """Check memory accesses and divisions of a function of loops in place."""
    for op in list(block_walk(function)):
        with op.location, ir.InsertionPoint(op):
            if op.name in _INDICES:
                _check_indices(op)
            elif op.name in (*_SIGNED, *_UNSIGNED) and comes_from_data(op.operands[1]):
                _check_divisor(op)


def comes_from_data(value: ir.Value) -> bool:
    """Tell whether `value` depends on anything but loop counters and constants."""
    seen: set[ir.Value] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        if isinstance(each.owner, ir.Block):
            if not _is_counter(each):
                return True
        elif each.owner.operation.name.startswith(_PURE):
            waiting.extend(each.owner.operation.operands)
        else:
            return True
    return False


def _is_counter(value: ir.Value) -> bool:
    loop = value.owner.owner.operation
    return loop.name in _LOOPS and (loop.name == "scf.parallel" or ir.BlockArgument(value).arg_number == 0)


def _check_indices(op: ir.Operation) -> None:
    first = _INDICES[op.name]
    shape = shape_of(op.operands[first - 1])
    for index, length in zip(list(op.operands)[first:], shape, strict=True):
        if comes_from_data(index):
            limit = arith.constant(index.type, length)
            inside = arith.cmpi(arith.CmpIPredicate.ult, index, limit)  # unsigned: a negative index is too large
            cf.AssertOp(inside, f"an index is out of range of an axis of length {length}")


def _check_divisor(op: ir.Operation) -> None:
    dividend, divisor = op.operands
    zero = arith.constant(divisor.type, 0)
    cf.AssertOp(arith.cmpi(arith.CmpIPredicate.ne, divisor, zero), "an integer is divided by zero")
    if op.name in _SIGNED and isinstance(divisor.type, ir.IntegerType):
        lowest = arith.constant(divisor.type, -(2 ** (divisor.type.width - 1)))
        minus_one = arith.constant(divisor.type, -1)
        fits = arith.ori(
            arith.cmpi(arith.CmpIPredicate.ne, divisor, minus_one),
            arith.cmpi(arith.CmpIPredicate.ne, dividend, lowest),
        )
        cf.AssertOp(fits, "an integer division overflows")
