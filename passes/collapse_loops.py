"""collapse_loops: two loops that walk contiguous memory in every operand become one, which is long enough for vectors.

Before (the mean of each of 1280 planes of 7 x 7; the innermost loop makes seven steps):
    linalg.generic {indexing_maps = [(c, y, x) -> (c, y, x), (c, y, x) -> (c)], iterator_types = [parallel, reduction, reduction]}
      ins(%x : memref<1280x7x7xf32>)
After:
    %flat = memref.reinterpret_cast %x to offset: [0], sizes: [1280, 49], strides: [49, 1] : memref<1280x7x7xf32> to memref<...>
    linalg.generic {indexing_maps = [(c, p) -> (c, p), (c, p) -> (c)], iterator_types = [parallel, reduction]} ins(%flat)

Loops of one step that an index adds to another loop (a pool's window that covers the plane) are left out first.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from torch_mlir import ir

from sparsec.ir.module import block_walk, element_of, find, shape_of
from sparsec.passes.access import (
    Access,
    accesses,
    composed,
    indexing_maps,
    parallel_loops,
    renumbered,
    trip_counts,
)
from sparsec.passes.unit import Unit


def collapse_loops(unit: Unit) -> None:
    """Collapse pairs of neighbouring loops as long as there are any."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == "linalg.generic"):
            if any(inner.name == "linalg.index" for inner in block_walk(op)):
                continue
            with op.location:
                _drop_single(op)
                while (outer := _collapsible(op)) is not None:
                    _collapse(op, outer)


def _drop_single(op: ir.Operation) -> None:
    """Leave out loops of one step that are terms of an index, as those over the outputs of a pool over whole planes are."""
    maps, counts = indexing_maps(op), trip_counts(op)
    plain = {index.position for each in maps for index in each.results if isinstance(index, ir.AffineDimExpr)}
    terms = [index for each in maps for index in each.results if isinstance(index, ir.AffineAddExpr)]
    single = {loop for loop in plain if counts[loop] == 1 and any(_has(index, loop) for index in terms)}
    while cut := _cut_short(op, single):
        single -= cut
    if not single:
        return
    loops, kinds = len(counts), list(ir.ArrayAttr(op.attributes["iterator_types"]))
    kept = [loop for loop in range(loops) if loop not in single]
    left = [composed(list(each.results), renumbered(kept, loops)) for each in maps]
    op.attributes["indexing_maps"] = ir.ArrayAttr.get([ir.AffineMapAttr.get(each) for each in left])
    op.attributes["iterator_types"] = ir.ArrayAttr.get([kinds[loop] for loop in kept])


def _cut_short(op: ir.Operation, left_out: Set[int]) -> set[int]:
    """Those of the loops to leave out without which a sum would be a single loop that ends before its axis does, as where a
    pool reads a plane that was padded for more: `linalg` takes the axis for as long as the loop.
    """
    counts, cut = trip_counts(op), set[int]()
    for operand, indexing in zip(op.operands, indexing_maps(op), strict=True):
        for size, index in zip(shape_of(operand), indexing.results, strict=True):
            terms = {loop for loop in range(len(counts)) if _has(index, loop)}
            stays = terms - left_out
            if len(stays) == 1 and counts[min(stays)] != size:
                cut |= terms & left_out
    return cut


def _has(index: ir.AffineExpr, loop: int) -> bool:
    """Whether a loop is a term of a sum."""
    if isinstance(index, ir.AffineAddExpr):
        return _has(index.lhs, loop) or _has(index.rhs, loop)
    return isinstance(index, ir.AffineDimExpr) and index.position == loop


def _collapsible(op: ir.Operation) -> int | None:
    """A loop that can be one with the next loop."""
    walked, counts, parallel = accesses(op), trip_counts(op), parallel_loops(op)
    if walked is None:
        return None
    for outer in range(len(counts) - 1):
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
    maps = []
    for position, access in enumerate(walked):
        results = list(access.indexing.results)
        inner = _places(access, outer + 1)
        if inner:
            op.operands[position] = _flat(access.operand, inner[0] - 1, ir.InsertionPoint(op))
            del results[inner[0]]
        maps.append(ir.AffineMapAttr.get(composed(results, renumbered(kept, loops))))
    kinds = list(ir.ArrayAttr(op.attributes["iterator_types"]))
    op.attributes["indexing_maps"] = ir.ArrayAttr.get(maps)
    op.attributes["iterator_types"] = ir.ArrayAttr.get([kinds[loop] for loop in kept])


def _flat(buffer: ir.Value, axis: int, ip: ir.InsertionPoint) -> ir.Value:
    """A view of a buffer in which `axis` and the next are one.

    A `memref.collapse_shape` would be folded into loads and stores, as a division of each index.
    """
    kind, shape, index = ir.MemRefType(buffer.type), list(shape_of(buffer)), ir.IndexType.get()
    steps, offset = kind.get_strides_and_offset()
    sizes = [*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]]
    strides = [*steps[:axis], *steps[axis + 1 :]]
    base, taken = buffer, []
    if kind.is_dynamic_stride_or_offset(offset):
        empty = ir.MemRefType.get([], element_of(buffer))
        results = [empty, *[index] * (1 + 2 * len(shape))]
        described = ir.Operation.create("memref.extract_strided_metadata", results=results, operands=[buffer], ip=ip)
        base, taken = described.results[0], [described.results[1]]
    layout = ir.StridedLayoutAttr.get(offset, strides)
    attributes = {
        "static_offsets": ir.DenseI64ArrayAttr.get([offset]),
        "static_sizes": ir.DenseI64ArrayAttr.get(sizes),
        "static_strides": ir.DenseI64ArrayAttr.get(strides),
        "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, len(taken), 0, 0]),
    }
    view = ir.MemRefType.get(sizes, element_of(buffer), layout=layout)
    created = ir.Operation.create(
        "memref.reinterpret_cast", results=[view], operands=[base, *taken], attributes=attributes, ip=ip
    )
    return created.results[0]
