"""order_loops: each remaining linalg op gets the loop order that vectorises, and says which sums may be re-associated.

Before (a sum over the second of three axes; the innermost loop would be the reduction, at stride 8):
    linalg.generic {indexing_maps = [(a, b, c) -> (a, c, b), (a, b, c) -> (a, b)], iterator_types = [parallel, parallel, reduction]}
After (the innermost loop walks the unit stride of both operands):
    linalg.generic {indexing_maps = [(a, c, b) -> (a, c, b), (a, c, b) -> (a, b)], iterator_types = [parallel, reduction, parallel]}

A reduction along the unit stride stays innermost and its accumulating op gets `fastmath<reassoc>`, without which LLVM must add one
element at a time. No other op may be re-associated: networks may contain compensated arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch_mlir import ir

from sparsec.ir.module import find, shape_of
from sparsec.ir.pipeline import run_pipeline
from sparsec.passes.unit import Unit

_ACCUMULATORS = ("arith.addf", "arith.mulf")


def order_loops(unit: Unit) -> None:
    """Generalise named ops, then permute the loops of every generic in place."""
    run_pipeline(unit.module, "func.func(linalg-generalize-named-ops)", what="generalising linalg operators")
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == "linalg.generic"):
            _permute(op)
            _allow_reassociation(op)


def _permute(op: ir.Operation) -> None:
    maps = [ir.AffineMapAttr(item).value for item in ir.ArrayAttr(op.attributes["indexing_maps"])]
    kinds = list(ir.ArrayAttr(op.attributes["iterator_types"]))
    loops = len(kinds)
    inner = _innermost(op, maps, kinds)
    body = op.regions[0].blocks[0]
    if inner is None or any(item.operation.name == "linalg.index" for item in body.operations):
        return
    order = [loop for loop in range(loops) if loop != inner] + [inner]
    if order == list(range(loops)):
        return
    renamed = ir.AffineMap.get(loops, 0, [ir.AffineDimExpr.get(order.index(loop)) for loop in range(loops)])
    permuted = [_rename(item, renamed, loops) for item in maps]
    op.attributes["indexing_maps"] = ir.ArrayAttr.get([ir.AffineMapAttr.get(item) for item in permuted])
    op.attributes["iterator_types"] = ir.ArrayAttr.get([kinds[loop] for loop in order])


def _rename(item: ir.AffineMap, renamed: ir.AffineMap, loops: int) -> ir.AffineMap:
    return ir.AffineMap.get(loops, 0, [expression.compose(renamed) for expression in item.results])


def _innermost(op: ir.Operation, maps: Sequence[ir.AffineMap], kinds: Sequence[ir.Attribute]) -> int | None:
    """The loop to run innermost: the one that most operands walk with unit stride, the destination counting most."""
    scores = [0] * len(kinds)
    for position, (operand, indexing) in enumerate(zip(op.operands, maps, strict=True)):
        shape = shape_of(operand)
        wide = [axis for axis, size in enumerate(shape) if size != 1]
        if not wide:
            continue
        for loop in _loops_of(indexing.results[wide[-1]]):
            scores[loop] += 3 if position == len(maps) - 1 else 2
    best = max(range(len(kinds)), key=lambda loop: (scores[loop], loop), default=None)
    return best if best is not None and scores[best] else None


def _loops_of(expression: ir.AffineExpr) -> list[int]:
    """The loops that move `expression` by one per step (not those multiplied by a stride)."""
    if isinstance(expression, ir.AffineDimExpr):
        return [expression.position]
    if isinstance(expression, ir.AffineAddExpr):
        return [*_loops_of(expression.lhs), *_loops_of(expression.rhs)]
    return []


def _allow_reassociation(op: ir.Operation) -> None:
    kinds = [str(kind) for kind in ir.ArrayAttr(op.attributes["iterator_types"])]
    if not any("reduction" in kind for kind in kinds):
        return
    body = op.regions[0].blocks[0]
    outputs = list(ir.DenseI32ArrayAttr(op.attributes["operandSegmentSizes"]))[1]
    accumulators = list(body.arguments)[-outputs:]
    for inner in body.operations:
        operation = inner.operation
        if operation.name in _ACCUMULATORS and any(operand in accumulators for operand in operation.operands):
            operation.attributes["fastmath"] = ir.Attribute.parse("#arith.fastmath<reassoc>")
