"""order_loops: each remaining linalg op gets the loop order that vectorises, and says which sums may be re-associated.

Before (a sum over the second of three axes; the innermost loop would be the reduction, at stride 8):
    linalg.generic {indexing_maps = [(a, b, c) -> (a, c, b), (a, b, c) -> (a, b)], iterator_types = [parallel, parallel, reduction]}
After (the innermost loop walks the unit stride of both operands):
    linalg.generic {indexing_maps = [(a, c, b) -> (a, c, b), (a, c, b) -> (a, b)], iterator_types = [parallel, reduction, parallel]}

A reduction along the unit stride stays innermost and its accumulating op gets `fastmath<reassoc>`, without which LLVM must add one
element at a time; no other op may be re-associated, as networks may contain compensated arithmetic. A maximum or minimum gets
`fastmath<nsz>`: of zeros that differ in sign it may give either, with three instructions instead of six (and with one where it
is marked `nnan` already).
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.module import find
from sparsec.ir.pipeline import run_pipeline
from sparsec.passes.access import accesses, composed, indexing_maps, parallel_loops, renumbered, trip_counts
from sparsec.passes.unit import Unit

_VECTOR = 16  # elements
_EVERY_OTHER = 3  # vectors that are as dear as one of every other element: two, and a shuffle
_FLAGS = {"arith.addf": "reassoc", "arith.mulf": "reassoc", "arith.maximumf": "nsz", "arith.minimumf": "nsz"}


def order_loops(unit: Unit) -> None:
    """Generalise named ops, then permute the loops of every generic in place."""
    run_pipeline(unit.module, "func.func(linalg-generalize-named-ops)", what="generalising linalg operators")
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == "linalg.generic"):
            _permute(op)
            _allow_reassociation(op)


def _permute(op: ir.Operation) -> None:
    maps, kinds = indexing_maps(op), list(ir.ArrayAttr(op.attributes["iterator_types"]))
    loops = len(kinds)
    inner = _innermost(op)
    body = op.regions[0].blocks[0]
    if inner is None or any(item.operation.name == "linalg.index" for item in body.operations):
        return
    order = [loop for loop in range(loops) if loop != inner] + [inner]
    if order == list(range(loops)):
        return
    permuted = [composed(item.results, renumbered(order, loops)) for item in maps]
    op.attributes["indexing_maps"] = ir.ArrayAttr.get([ir.AffineMapAttr.get(item) for item in permuted])
    op.attributes["iterator_types"] = ir.ArrayAttr.get([kinds[loop] for loop in order])


def _innermost(op: ir.Operation) -> int | None:
    """The loop to run innermost: the one with the least memory traffic per iteration; None if that cannot be told.

    A step of an operand costs nothing where it stays in place, a share of a vector at unit stride, more of it where every
    other element is read, and else an access of its own; what is written counts twice.
    """
    walked, counts = accesses(op), trip_counts(op)
    if walked is None:
        return None

    def traffic(loop: int) -> float:
        vector = 1 / min(counts[loop], _VECTOR)
        share = {0: 0.0, 1: vector, 2: min(_EVERY_OTHER * vector, 1.0)}
        return sum((2 if each.written else 1) * share.get(abs(each.strides[loop]), 1.0) for each in walked)

    loops = [loop for loop, count in enumerate(counts) if count > 1]
    return min(loops, key=lambda loop: (traffic(loop), -loop), default=None)


def _allow_reassociation(op: ir.Operation) -> None:
    if all(parallel_loops(op)):
        return
    body = op.regions[0].blocks[0]
    outputs = list(ir.DenseI32ArrayAttr(op.attributes["operandSegmentSizes"]))[1]
    accumulators = list(body.arguments)[-outputs:]
    for inner in body.operations:
        operation = inner.operation
        if operation.name in _FLAGS and any(operand in accumulators for operand in operation.operands):
            wanted = [_FLAGS[operation.name], *(["nnan"] if "nnan" in str(operation.attributes["fastmath"]) else [])]
            operation.attributes["fastmath"] = ir.Attribute.parse(f"#arith.fastmath<{','.join(wanted)}>")
