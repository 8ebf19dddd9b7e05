"""lower_asserts: a check that fails stores its number in the status buffer of the run, and its function returns.

Before:
    cf.assert %ok, "an index is out of range" {sparsec.complaint = 3 : i64}
    ...
After:
    cf.cond_br %ok, ^go_on, ^failed(%c4 : i64)
  ^go_on:
    ...
  ^failed(%number: i64):
    memref.store %number, %status[] : memref<i64>
    return

The number stored is that of the complaint plus one, so that zero means no failure. Upstream would print and abort the
process.
"""

from __future__ import annotations

from torch_mlir import ir
from torch_mlir.dialects import arith, cf

from sparsec.ir.module import block_walk, find

COMPLAINT = "sparsec.complaint"  # on cf.assert: index into the unit's complaints
STATUS = "sparsec.status"  # on the argument of a function, and on the allocation in @main


def lower_asserts(module: ir.Module) -> None:
    """Replace every `cf.assert` of functions without structured control flow, in place."""
    with module.context, ir.Location.unknown():
        for function in find(module, lambda op: op.name == "func.func"):
            checks = [op for op in block_walk(function) if op.name == "cf.assert"]
            if checks:
                failed = _failed_block(function)
                for check in checks:
                    _branch(check, failed)


def _failed_block(function: ir.Operation) -> ir.Block:
    """The block in which all failed checks of a function end; it takes the number to store."""
    status = _take_status(function)
    i64 = ir.IntegerType.get_signless(64)
    block = function.regions[0].blocks.append(i64, arg_locs=[ir.Location.unknown()])
    ip = ir.InsertionPoint(block)
    ir.Operation.create("memref.store", operands=[block.arguments[0], status], ip=ip)
    ir.Operation.create("func.return", ip=ip)
    return block


def _take_status(function: ir.Operation) -> ir.Value:
    """The argument that is marked as the status buffer; the mark goes, LLVM does not know it."""
    marks = [ir.DictAttr(mark) for mark in ir.ArrayAttr(function.attributes["arg_attrs"])]
    position = next(position for position, mark in enumerate(marks) if STATUS in mark)
    marks[position] = ir.DictAttr.get({})
    function.attributes["arg_attrs"] = ir.ArrayAttr.get(marks)
    return function.regions[0].blocks[0].arguments[position]


def _branch(check: ir.Operation, failed: ir.Block) -> None:
    """End the block of `check` with a branch; what followed moves to a block of its own."""
    block = check.block
    following = [item.operation for item in block.operations]
    go_on = block.create_after()
    for op in following[following.index(check) + 1 :]:
        go_on.append(op)
    number = ir.IntegerAttr(check.attributes[COMPLAINT]).value + 1
    with check.location, ir.InsertionPoint(check):
        stored = arith.constant(ir.IntegerType.get_signless(64), number)
        cf.CondBranchOp(check.operands[0], [], [stored], go_on, failed)
    check.erase()
