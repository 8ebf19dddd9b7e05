"""Where the loops of a `linalg.generic` on buffers walk: element strides, from indexing maps and memref layouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch_mlir import ir

from sparsec.ir.module import shape_of

RESHAPES = ("tensor.expand_shape", "tensor.collapse_shape")  # what views are before there are buffers
VIEWS = (
    "memref.subview",
    "memref.collapse_shape",
    "memref.expand_shape",
    "memref.reinterpret_cast",
    "memref.cast",
)
# What touches no element, and may stand between nests that become one.
PASSED_OVER = ("memref.alloc", "memref.expand_shape", "memref.collapse_shape", "memref.cast", "sparsec.weight")


@dataclass(frozen=True, slots=True)
class Access:
    """One operand of a generic: iteration (i0, i1, ...) touches element `offset + sum(strides[l] * i_l)` of `base`."""

    operand: ir.Value
    base: ir.Value
    indexing: ir.AffineMap
    offset: int | None  # None if only known at run time
    strides: tuple[int, ...]
    written: bool


def accesses(op: ir.Operation) -> list[Access] | None:
    """The accesses of a generic, one per operand; None where sizes are not known, or a layout or an index not to be linear."""
    maps = indexing_maps(op)
    outputs = list(ir.DenseI32ArrayAttr(op.attributes["operandSegmentSizes"]))[1]
    found = []
    for number, (operand, indexing) in enumerate(zip(op.operands, maps, strict=True)):
        buffer = operand.type
        if not isinstance(buffer, ir.MemRefType) or not buffer.has_static_shape:
            return None
        steps, offset = buffer.get_strides_and_offset()
        if any(map(buffer.is_dynamic_stride_or_offset, steps)):
            return None
        strides = [0] * indexing.n_dims
        for step, index in zip(steps, indexing.results, strict=True):
            terms = _linear(index)
            if terms is None:
                return None
            for loop, factor in terms:
                strides[loop] += factor * step
        start = None if buffer.is_dynamic_stride_or_offset(offset) else offset
        written = number >= len(maps) - outputs
        found.append(Access(operand, _base(operand), indexing, start, tuple(strides), written))
    return found


def indexing_maps(op: ir.Operation) -> list[ir.AffineMap]:
    """One map per operand."""
    return [ir.AffineMapAttr(item).value for item in ir.ArrayAttr(op.attributes["indexing_maps"])]


def parallel_loops(op: ir.Operation) -> list[bool]:
    """For each loop, whether it is parallel (else a reduction)."""
    return ["parallel" in str(kind) for kind in ir.ArrayAttr(op.attributes["iterator_types"])]


def renumbered(kept: Sequence[int], loops: int) -> ir.AffineMap:
    """What to compose indices with if of so many loops only `kept` stay, in that order; the others stand at 0."""
    places = {loop: ir.AffineDimExpr.get(number) for number, loop in enumerate(kept)}
    return ir.AffineMap.get(len(kept), 0, [places.get(loop, ir.AffineConstantExpr.get(0)) for loop in range(loops)])


def composed(indices: Sequence[ir.AffineExpr], loops: ir.AffineMap) -> ir.AffineMap:
    """The map of `indices`, whose loops are the results of the map `loops`."""
    return ir.AffineMap.get(loops.n_dims, 0, [index.compose(loops) for index in indices])


def trip_counts(op: ir.Operation) -> list[int]:
    """Trip count of each loop, read off an operand that it indexes alone; 1 where there is none."""
    maps = indexing_maps(op)
    counts = [1] * maps[0].n_dims
    for operand, indexing in zip(op.operands, maps, strict=True):
        for size, index in zip(shape_of(operand), indexing.results, strict=True):
            if isinstance(index, ir.AffineDimExpr):
                counts[index.position] = size
    return counts


def _base(value: ir.Value) -> ir.Value:
    """The buffer that a chain of views looks at."""
    while not isinstance(value.owner, ir.Block) and value.owner.operation.name in VIEWS:
        value = value.owner.operation.operands[0]
    return value


def _linear(index: ir.AffineExpr) -> Sequence[tuple[int, int]] | None:
    """(loop, factor) of a sum of loops times constants, whose constant term is 0; None if it is something else."""
    if isinstance(index, ir.AffineDimExpr):
        return [(index.position, 1)]
    if isinstance(index, ir.AffineConstantExpr):
        return [] if index.value == 0 else None
    if isinstance(index, ir.AffineAddExpr):
        left, right = _linear(index.lhs), _linear(index.rhs)
        return None if left is None or right is None else [*left, *right]
    if isinstance(index, ir.AffineMulExpr) and isinstance(index.rhs, ir.AffineConstantExpr):
        terms = _linear(index.lhs)
        return None if terms is None else [(loop, factor * index.rhs.value) for loop, factor in terms]
    return None
