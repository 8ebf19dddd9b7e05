"""parallel_first: the loops of a nest that threads may share come before those that add up.

Before (a sum over the second of three axes):
    linalg.generic {indexing_maps = [(a, b, c) -> (a, b, c), (a, b, c) -> (a, c)], iterator_types = [parallel, reduction, parallel]}
After:
    linalg.generic {indexing_maps = [(a, c, b) -> (a, b, c), (a, c, b) -> (a, c)], iterator_types = [parallel, parallel, reduction]}

Only what is before the first sum becomes threads.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch_mlir import ir

from sparsec.ir.module import block_walk, find
from sparsec.ir.pipeline import run_pipeline
from sparsec.passes.access import composed, indexing_maps, parallel_loops, renumbered
from sparsec.passes.unit import Unit


def parallel_first(unit: Unit) -> None:
    """Generalise named ops, then move the parallel loops of every generic to the front, in their order."""
    run_pipeline(unit.module, "func.func(linalg-generalize-named-ops)", what="generalising linalg operators")
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == "linalg.generic" and "library_call" not in op.attributes):
            _permute(op)


def _permute(op: ir.Operation) -> None:
    parallel = parallel_loops(op)
    permute(op, sorted(range(len(parallel)), key=lambda loop: not parallel[loop]))


def permute(op: ir.Operation, order: Sequence[int]) -> None:
    """Let a generic walk its loops in another order: first the loop that was number `order[0]`, and so on."""
    if list(order) == list(range(len(order))):
        return
    kinds = list(ir.ArrayAttr(op.attributes["iterator_types"]))
    maps = [composed(item.results, renumbered(order, len(order))) for item in indexing_maps(op)]
    op.attributes["indexing_maps"] = ir.ArrayAttr.get([ir.AffineMapAttr.get(item) for item in maps])
    op.attributes["iterator_types"] = ir.ArrayAttr.get([kinds[loop] for loop in order])
    for inner in block_walk(op):
        if inner.name == "linalg.index":
            inner.attributes["dim"] = ir.IntegerAttr.get(
                ir.IntegerType.get_signless(64), order.index(ir.IntegerAttr(inner.attributes["dim"]).value)
            )
