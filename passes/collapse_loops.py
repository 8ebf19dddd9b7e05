"""collapse_loops: two loops that walk contiguous memory in every operand become one, which is long enough for vectors.

Before (the mean of each of 1280 planes of 7 x 7; the innermost loop makes seven steps):
    linalg.generic {indexing_maps = [(c, y, x) -> (c, y, x), (c, y, x) -> (c)], iterator_types = [parallel, reduction, reduction]}
      ins(%x : memref<1280x7x7xf32>)
After:
    %flat = memref.collapse_shape %x [[0], [1, 2]] : memref<1280x7x7xf32> into memref<1280x49xf32>
    linalg.generic {indexing_maps = [(c, p) -> (c, p), (c, p) -> (c)], iterator_types = [parallel, reduction]} ins(%flat)
"""

from __future__ import annotations

from collections.abc import Sequence

from torch_mlir import ir

from sparsec.ir.module import block_walk, element_of, find, shape_of
from sparsec.passes.access import Access, accesses, parallel_loops, trip_counts
from sparsec.passes.unit import Unit


def collapse_loops(unit: Unit) -> None:
    """Collapse pairs of neighbouring loops as long as there are any."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == "linalg.generic"):
            if any(inner.name == "linalg.index" for inner in block_walk(op)):
                continue
            with op.location:
                while (outer := _collapsible(op)) is not None:
                    _collapse(op, outer)


def _collapsible(op: ir.Operation) -> int | None:
    """A loop that can be one with the next loop."""
    walked, counts, parallel = accesses(op), trip_counts(op), parallel_loops(op)
    if walked is None:
        return None
    # Threads share the outermost loop of a step: its bounds come from outside, and LLVM, which cannot know that they are not
    # negative, would divide for each element.
    shared = op.parent.name == "func.func"
    first = next((loop + 1 for loop, count in enumerate(counts) if count > 1), len(counts)) if shared else 0
    for outer in range(first, len(counts) - 1):
        if parallel[outer] == parallel[outer + 1] and all(_runs_on(access, outer, counts) for access in walked):
            return outer
    return None


def _runs_on(access: Access, outer: int, counts: Sequence[int]) -> bool:
    """True if a step of loop `outer` goes where the last step of the next loop led, on two neighbouring axes, or on none."""
    places = _places(access, outer), _places(access, outer + 1)
    if not any(places):
        return True
    if any(len(place) != 1 for place in places) or places[1][0] != places[0][0] + 1:
        return False
    whole = shape_of(access.operand)[places[1][0]] == counts[outer + 1]
    return whole and access.strides[outer] == access.strides[outer + 1] * counts[outer + 1]


def _places(access: Access, loop: int) -> list[int]:
    """The axes that a loop walks; one that is walked in another way than step by step counts twice."""
    found = []
    for axis, index in enumerate(access.indexing.results):
        if isinstance(index, ir.AffineDimExpr):
            found += [axis] if index.position == loop else []
        elif access.strides[loop] and not isinstance(index, ir.AffineConstantExpr):
            found += [axis, axis]
    return found


def _collapse(op: ir.Operation, outer: int) -> None:
    """Make loops `outer` and `outer + 1` of `op` one, in place."""
    walked = accesses(op)
    assert walked is not None
    loops = walked[0].indexing.n_dims
    kept = [loop for loop in range(loops) if loop != outer + 1]
    renamed = [
        ir.AffineDimExpr.get(kept.index(loop)) if loop in kept else ir.AffineConstantExpr.get(0)
        for loop in range(loops)
    ]
    substitution = ir.AffineMap.get(len(kept), 0, renamed)
    maps = []
    for position, access in enumerate(walked):
        results = list(access.indexing.results)
        inner = _places(access, outer + 1)
        if inner:
            op.operands[position] = _flat(access.operand, inner[0] - 1, ir.InsertionPoint(op))
            del results[inner[0]]
        maps.append(
            ir.AffineMapAttr.get(ir.AffineMap.get(len(kept), 0, [item.compose(substitution) for item in results]))
        )
    kinds = list(ir.ArrayAttr(op.attributes["iterator_types"]))
    op.attributes["indexing_maps"] = ir.ArrayAttr.get(maps)
    op.attributes["iterator_types"] = ir.ArrayAttr.get([kinds[loop] for loop in kept])


def _flat(buffer: ir.Value, axis: int, ip: ir.InsertionPoint) -> ir.Value:
    """A view of a buffer in which `axis` and the next are one."""
    kind, shape = ir.MemRefType(buffer.type), shape_of(buffer)
    groups = [[each] for each in range(axis)] + [[axis, axis + 1]] + [[each] for each in range(axis + 2, len(shape))]
    flat = [shape[axis] * shape[axis + 1] if len(group) > 1 else shape[group[0]] for group in groups]
    steps, offset = kind.get_strides_and_offset()
    layout = None
    if kind.affine_map != ir.AffineMap.get_identity(len(shape)):
        layout = ir.StridedLayoutAttr.get(offset, [steps[group[-1]] for group in groups])
    index = ir.IntegerType.get_signless(64)
    reassociation = [ir.ArrayAttr.get([ir.IntegerAttr.get(index, each) for each in group]) for group in groups]
    return ir.Operation.create(
        "memref.collapse_shape",
        results=[ir.MemRefType.get(flat, element_of(buffer), layout=layout)],
        operands=[buffer],
        attributes={"reassociation": ir.ArrayAttr.get(reassociation)},
        ip=ip,
    ).results[0]
