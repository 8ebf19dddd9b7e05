"""keep_checks: of loops whose results nothing reads, only what they check is done.

Before (%row is also computed where it is used, as upstream fusion leaves it):
    %row = linalg.generic {indexing_maps = [(n, k) -> (n), (n, k) -> (n, k)]} ins(%number) outs(%e : tensor<128x384xf32>) {
      ^bb0(%in, %out): %ok = arith.cmpi ult, %in, %rows   cf.assert %ok, "..."   %x = tensor.extract %table[%in, %k]   linalg.yield %x }
After:
    linalg.generic {indexing_maps = [(n) -> (n)]} ins(%number) {
      ^bb0(%in): %ok = arith.cmpi ult, %in, %rows   cf.assert %ok, "..."   linalg.yield }

Loops that no check depends on are left out: these are one check for each row, not for each of its elements.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch_mlir import ir

from sparsec.ir.module import find, users
from sparsec.passes.access import composed, indexing_maps, renumbered
from sparsec.passes.layer import clone_body
from sparsec.passes.unit import Unit

_CHECK = "cf.assert"


def keep_checks(unit: Unit) -> None:
    """Rewrite every such generic that stands for itself: its body reads no result, and loops can be told from its inputs."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == "linalg.generic"):
            if len(op.results) and not any(users(result) for result in op.results):
                _keep(op)


def _keep(op: ir.Operation) -> None:
    block, inputs = op.regions[0].blocks[0], len(op.operands) - len(op.results)
    kept = _needed([item.operation for item in block.operations])
    read = {operand for each in kept for operand in each.operands}
    used = [number for number, argument in enumerate(block.arguments) if argument in read]
    maps = [indexing_maps(op)[number] for number in used]
    loops = sorted({index.position for each in maps for index in each.results if isinstance(index, ir.AffineDimExpr)})
    counted = {_loop(each) for each in kept if each.name == "linalg.index"}
    plain = all(isinstance(index, ir.AffineDimExpr) for each in maps for index in each.results)
    if not kept or not plain or not counted <= set(loops) or any(number >= inputs for number in used):
        return
    _rebuild(op, kept, used, loops)
    op.erase()


def _needed(body: Sequence[ir.Operation]) -> list[ir.Operation]:
    """The checks of a body, and what they depend on."""
    wanted: set[ir.Operation] = set()
    for op in reversed(body):
        if op.name == _CHECK or any(use.owner.operation in wanted for result in op.results for use in result.uses):
            wanted.add(op)
    return [op for op in body if op in wanted]


def _rebuild(op: ir.Operation, kept: Sequence[ir.Operation], used: Sequence[int], loops: Sequence[int]) -> None:
    """The generic with these ops, operands and loops only."""
    before, kinds = indexing_maps(op), list(ir.ArrayAttr(op.attributes["iterator_types"]))
    places = renumbered(loops, before[0].n_dims)
    maps = [composed(list(before[number].results), places) for number in used]
    new = ir.Operation.create(
        "linalg.generic",
        operands=[op.operands[number] for number in used],
        attributes={
            "indexing_maps": ir.ArrayAttr.get([ir.AffineMapAttr.get(each) for each in maps]),
            "iterator_types": ir.ArrayAttr.get([kinds[loop] for loop in loops]),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([len(used), 0]),
        },
        regions=1,
        loc=op.location,
        ip=ir.InsertionPoint(op),
    )
    arguments = [op.regions[0].blocks[0].arguments[number] for number in used]
    block = new.regions[0].blocks.append(*[each.type for each in arguments], arg_locs=[op.location] * len(arguments))
    clone_body(kept, block, dict(zip(arguments, block.arguments, strict=True)))
    for item in block.operations:
        if item.operation.name == "linalg.index":
            number = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), loops.index(_loop(item.operation)))
            item.operation.attributes["dim"] = number
    ir.Operation.create("linalg.yield", loc=op.location, ip=ir.InsertionPoint(block))


def _loop(index: ir.Operation) -> int:
    """The loop that a `linalg.index` counts."""
    return int(ir.IntegerAttr(index.attributes["dim"]).value)
