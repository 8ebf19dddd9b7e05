"""join_reductions: neighbouring reductions of the same operand become one nest, which reads it once.

Before (the range that codes of 8 bit are chosen for):
    linalg.generic {... minimumf} ins(%x : memref<128x768xf32>) outs(%least : memref<128xf32>)
    linalg.generic {... maximumf} ins(%x : memref<128x768xf32>) outs(%greatest : memref<128xf32>)
After:
    linalg.generic {... minimumf ... maximumf} ins(%x) outs(%least, %greatest : memref<128xf32>, memref<128xf32>)
"""

from __future__ import annotations

from collections.abc import Sequence

from torch_mlir import ir

from sparsec.ir.module import main_block
from sparsec.passes.access import PASSED_OVER, Access, accesses, parallel_loops
from sparsec.passes.layer import clone_body
from sparsec.passes.unit import Unit


def join_reductions(unit: Unit) -> None:
    """Join in `@main`, each into the next that may take it."""
    with unit.module.context, ir.Location.unknown():
        ops = [item.operation for item in main_block(unit.module).operations]
        for number, op in enumerate(ops):
            place = _partner(ops, number) if _is_reduction(op) else None
            if place is not None:
                ops[place] = _joined(op, ops[place])


def _is_reduction(op: ir.Operation) -> bool:
    """True for a generic on buffers with one result that adds up, or the like."""
    if op.name != "linalg.generic" or all(parallel_loops(op)) or op.results:
        return False
    return list(ir.DenseI32ArrayAttr(op.attributes["operandSegmentSizes"]))[1] == 1 and accesses(op) is not None


def _partner(ops: Sequence[ir.Operation], number: int) -> int | None:
    """Which is the first behind reduction `number` that reads the same, unless what is between them is in the way."""
    op, walked = ops[number], accesses(ops[number])
    assert walked is not None
    for place in range(number + 1, len(ops)):
        other = ops[place]
        if other.name in PASSED_OVER or other.name.startswith("arith.constant"):
            continue
        met = accesses(other) if other.name == "linalg.generic" else None
        if met is None:
            return None
        if _is_reduction(other) and _shares(walked, met) and parallel_loops(op) == parallel_loops(other):
            return place
        if any(each.base == walked[-1].base for each in met):
            return None
        if {each.base for each in met if each.written} & {each.base for each in walked}:
            return None
    return None


def _shares(one: Sequence[Access], other: Sequence[Access]) -> bool:
    """True if two reductions read the same elements, for results at the same places of different buffers."""
    if len(one) != len(other) or one[-1].base == other[-1].base or one[-1].base in {each.base for each in other}:
        return False
    same = all(
        (left.base, left.offset, left.strides) == (right.base, right.offset, right.strides) and left.offset is not None
        for left, right in zip(one[:-1], other[:-1], strict=True)
    )
    maps = all(left.indexing == right.indexing for left, right in zip(one, other, strict=True))
    return same and maps and other[-1].base not in {each.base for each in one}


def _joined(op: ir.Operation, other: ir.Operation) -> ir.Operation:
    """Replace both by one nest, where the second is."""
    maps, last = list(ir.ArrayAttr(op.attributes["indexing_maps"])), ir.ArrayAttr(other.attributes["indexing_maps"])
    attributes = {name: op.attributes[name] for name in op.attributes}
    attributes["indexing_maps"] = ir.ArrayAttr.get([*maps, last[len(last) - 1]])
    attributes["operandSegmentSizes"] = ir.DenseI32ArrayAttr.get([len(maps) - 1, 2])
    operands = [*op.operands, other.operands[len(maps) - 1]]
    joined = ir.Operation.create(
        "linalg.generic",
        operands=operands,
        attributes=attributes,
        regions=1,
        loc=other.location,
        ip=ir.InsertionPoint(other),
    )
    types = [value.type for value in op.regions[0].blocks[0].arguments]
    types.append(list(other.regions[0].blocks[0].arguments)[-1].type)
    body = joined.regions[0].blocks.append(*types, arg_locs=[other.location] * len(types))
    yielded = [_cloned(each, body, len(types) - 2 + place) for place, each in enumerate((op, other))]
    ir.Operation.create("linalg.yield", operands=yielded, ip=ir.InsertionPoint(body))
    op.erase()
    other.erase()
    return joined


def _cloned(op: ir.Operation, body: ir.Block, accumulator: int) -> ir.Value:
    """Put the ops of a reduction into `body`, whose argument number `accumulator` is its own; returns what it yields."""
    old = op.regions[0].blocks[0]
    *inputs, own = old.arguments
    values = dict(zip(inputs, list(body.arguments)[: len(inputs)], strict=True)) | {own: body.arguments[accumulator]}
    *inside, last = [item.operation for item in old.operations]
    clone_body(inside, body, values)
    return values[last.operands[0]]
