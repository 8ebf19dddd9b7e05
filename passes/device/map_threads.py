"""map_threads: functions that `outline` made run one iteration of their parallel loop in each thread of a GPU.

Before:
    func.func private @loop_0(%x: memref<4x8xf32>, %begin: index, %end: index) {
      scf.parallel (%i, %j) = (%begin, %c0) to (%end, %c8) step (%c1, %c1) { ... } }
    func.call @loop_0(%x, %c0, %c4)
After:
    func.func private @loop_0(%x: memref<4x8xf32>) {
      %thread = ...   %inside = arith.cmpi ult, %thread, %c32   scf.if %inside {
        %i = arith.divui %thread, %c8   %j = arith.remui %thread, %c8 ... } }
    func.call @loop_0(%x) {grid = array<i64: 1>, block = array<i64: 256>}

Loops inside stay loops. A function without a parallel loop is one thread's.
"""

from __future__ import annotations

import math

from torch_mlir import ir
from torch_mlir.dialects import arith, gpu, scf

from sparsec.errors import UnsupportedOpError
from sparsec.ir.module import function, main_block, node_name
from sparsec.passes.device.lower_products import PRODUCT
from sparsec.passes.device.nests import LARGE
from sparsec.passes.unit import Unit

BLOCK = 256
_EACH = 8  # iterations that a thread does where there are `_MANY`: what they share is computed once
_MANY = 1 << 20


def map_threads(unit: Unit) -> None:
    """Map every function that is called with bounds."""
    with unit.module.context, ir.Location.unknown():
        sizes: dict[str, tuple[int, int]] = {}  # name -> bounds, and threads
        known: dict[str, int] = {}
        for op in [item.operation for item in main_block(unit.module).operations]:
            if op.name == "func.call" and not {"grid", PRODUCT} & set(op.attributes):
                name = ir.FlatSymbolRefAttr(op.attributes["callee"]).value
                *buffers, _, end = op.operands
                bound = _constant(end)
                if name not in known:
                    sizes[name] = bound, _map(function(unit.module, name), bound)
                    known[name] = bound
                assert sizes[name][0] == bound, "equal loops have equal bounds"
                _call(op, buffers, sizes[name][1])


def _call(op: ir.Operation, buffers: list[ir.Value], threads: int) -> None:
    block = min(BLOCK, threads)
    attributes = {name: op.attributes[name] for name in ("callee", "layer")}
    attributes["grid"] = ir.DenseI64ArrayAttr.get([-(-threads // block)])
    attributes["block"] = ir.DenseI64ArrayAttr.get([block])
    ir.Operation.create("func.call", operands=buffers, attributes=attributes, loc=op.location, ip=ir.InsertionPoint(op))
    op.erase()


def _map(func: ir.Operation, bound: int) -> int:
    """Rewrite one function; returns how many threads it wants."""
    block = func.regions[0].blocks[0]
    begin, end = list(block.arguments)[-2:]
    with ir.InsertionPoint.at_block_begin(block):
        for argument, value in ((begin, 0), (end, bound)):
            argument.replace_all_uses_with(arith.constant(ir.IndexType.get(), value))
    for _ in range(2):
        block.erase_argument(len(block.arguments) - 1)
    types = [argument.type for argument in block.arguments]
    func.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(types, []))
    func.attributes["arg_attrs"] = ir.ArrayAttr.get(list(ir.ArrayAttr(func.attributes["arg_attrs"]))[:-2])
    loops = [op.operation for op in block.operations if op.operation.name == "scf.parallel"]
    if len(loops) != 1 or loops[0].results:
        return 1
    return _spread(loops[0])


def _spread(loop: ir.Operation) -> int:
    """One iteration in each thread, or, of many, `_EACH` of the innermost loop, whose neighbours are other threads' then."""
    rank = len(loop.operands) // 3
    lower, upper, step = (
        [_constant(value) for value in list(loop.operands)[at * rank : (at + 1) * rank]] for at in range(3)
    )
    counts = [-(-(last - first) // stride) for first, last, stride in zip(lower, upper, step, strict=True)]
    each = _EACH if math.prod(counts) >= _MANY and counts[-1] % _EACH == 0 else 1
    counts[-1] //= each
    threads = math.prod(counts)
    if threads >= LARGE:
        raise UnsupportedOpError(
            "a loop is too long for one launch on a GPU", where=node_name(loop) or "", got=f"{threads}"
        )
    with loop.location, ir.InsertionPoint(loop):
        block = arith.muli(_i32_of(gpu.block_id(gpu.Dimension.x)), _i32(min(BLOCK, max(threads, 1))))
        thread = arith.addi(block, _i32_of(gpu.thread_id(gpu.Dimension.x)))
        inside = scf.IfOp(arith.cmpi(arith.CmpIPredicate.ult, thread, _i32(threads)))
    with loop.location, ir.InsertionPoint(inside.then_block):
        digits = _digits(thread, counts)
        end = scf.yield_([])
    with loop.location, ir.InsertionPoint(end):
        if each > 1:
            turns = scf.ForOp(_index(0), _index(each), _index(1))
            with ir.InsertionPoint(turns.body):
                digits[-1] = arith.addi(digits[-1], arith.muli(turns.induction_variable, _index(counts[-1])))
                end = scf.yield_([])
    with loop.location, ir.InsertionPoint(end):
        places = [
            arith.addi(_index(first), arith.muli(digit, _index(stride)))
            for digit, first, stride in zip(digits, lower, step, strict=True)
        ]
    body = loop.regions[0].blocks[0]
    for argument, place in zip(body.arguments, places, strict=True):
        argument.replace_all_uses_with(place)
    for op in [item.operation for item in body.operations]:
        if op.name != "scf.reduce":
            op.move_before(end)
    loop.erase()
    return max(threads, 1)


def _digits(thread: ir.Value, counts: list[int]) -> list[ir.Value]:
    """The place in each loop of a thread; divisions of 32 bits take a fraction of those of 64."""
    digits: list[ir.Value] = []
    for count in reversed(counts):
        digits.insert(0, arith.index_cast(ir.IndexType.get(), arith.remui(thread, _i32(count))))
        thread = arith.divui(thread, _i32(count))
    return digits


def _constant(value: ir.Value) -> int:
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.operation.name != "arith.constant":
        raise UnsupportedOpError("the bounds of a loop are only known while the network runs", where=str(value))
    return int(ir.IntegerAttr(owner.operation.attributes["value"]).value)


def _index(value: int) -> ir.Value:
    return arith.constant(ir.IndexType.get(), value)


def _i32(value: int) -> ir.Value:
    return arith.constant(ir.IntegerType.get_signless(32), value)


def _i32_of(index: ir.Value) -> ir.Value:
    return arith.index_cast(ir.IntegerType.get_signless(32), index)
