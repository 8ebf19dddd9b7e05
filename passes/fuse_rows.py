"""fuse_rows: neighbouring loop nests over the same rows become one, so that a row stays in the cache from one to the next.

Before (a softmax over the last axis: maximum, exponential, sum, quotient, each over the whole tensor):
    linalg.generic {... maximumf} ins(%x : memref<12x128x64xf32>) outs(%top : memref<12x128x1xf32>)
    linalg.generic {... subf, exp} ins(%x, %top) outs(%y : memref<12x128x64xf32>)
After:
    scf.parallel (%i, %j) = (%c0, %c0) to (%c12, %c128) step (%c1, %c1) {
      %row = memref.subview %x[%i, %j, 0] [1, 1, 64] [1, 1, 1] : ... to memref<64xf32, strided<[1], offset: ?>>
      linalg.generic {... maximumf} ins(%row) outs(%top_row)    linalg.generic {... subf, exp} ins(%row, %top_row) outs(%y_row) }

Two nests may share a row loop if what one of them writes is met by the other at the same row only: same strides along
the rows, and no row reaches into the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.ir.module import block_walk, element_of, main_block, shape_of
from sparsec.passes.access import PASSED_OVER, Access, accesses, composed, parallel_loops, renumbered, trip_counts
from sparsec.passes.layer import clone_body
from sparsec.passes.unit import Unit

_LEAST_ROW = 32  # elements; shorter rows fill no vectors
_LEAST_ROWS = 16  # so that threads have something to share
_BLOCK_BYTES = 8 << 10


def fuse_rows(unit: Unit) -> None:
    """Fuse in `@main`, from top to bottom, as many neighbours as may share their rows."""
    with unit.module.context, ir.Location.unknown():
        for group, rows in list(_groups(main_block(unit.module))):
            _fuse(group, rows)


@dataclass(frozen=True, slots=True)
class _Nest:
    """A generic, and its loops that may be row loops, from the outermost axis of what it writes inwards."""

    op: ir.Operation
    walked: Sequence[Access]
    counts: Sequence[int]
    outer: Sequence[int]

    @classmethod
    def of(cls, op: ir.Operation) -> _Nest | None:
        """None if the body does more than arithmetic on its arguments, or if an access is not linear."""
        if op.name != "linalg.generic" or not _is_arithmetic(op):
            return None
        walked, counts = accesses(op), trip_counts(op)
        if walked is None or any(access.offset is None for access in walked):
            return None
        target = next(access for access in walked if access.written)
        free = [
            loop
            for loop, parallel in enumerate(parallel_loops(op))
            if parallel and counts[loop] > 1 and all(_plain(loop, access) for access in walked)
        ]
        return cls(op, walked, counts, sorted(free, key=lambda loop: -target.strides[loop]))

    @property
    def rows(self) -> tuple[int, ...]:
        """Trip counts of the loops that may be row loops."""
        return tuple(self.counts[loop] for loop in self.outer)

    def row_length(self, depth: int) -> int:
        """Iterations per row if the first `depth` of them are."""
        return math.prod(self.counts) // math.prod(self.rows[:depth])

    def footprint(self, access: Access, depth: int) -> tuple[int | None, tuple[int, ...], int]:
        """(offset, strides along the rows, elements from the first to the last that a row touches)."""
        rows = self.outer[:depth]
        inside = (loop for loop in range(len(self.counts)) if loop not in rows)
        reach = sum(abs(access.strides[loop]) * (self.counts[loop] - 1) for loop in inside)
        return access.offset, tuple(access.strides[loop] for loop in rows), reach


def _is_arithmetic(op: ir.Operation) -> bool:
    return all(
        inner.name.startswith(("arith.", "math.")) or inner.name == "linalg.yield" for inner in block_walk(op)
    ) and all(isinstance(operand.type, ir.MemRefType) for operand in op.operands)


def _plain(loop: int, access: Access) -> bool:
    """True if an index is this loop and nothing else, or none depends on it."""
    results = access.indexing.results
    alone = any(isinstance(index, ir.AffineDimExpr) and index.position == loop for index in results)
    return alone if access.strides[loop] else not _mentions(loop, access)


def _mentions(loop: int, access: Access) -> bool:
    """True if the loop moves along an axis, be it one of length 1."""
    return any(
        isinstance(index, ir.AffineDimExpr) and index.position == loop and size != 1
        for index, size in zip(access.indexing.results, shape_of(access.operand), strict=True)
    )


def _groups(block: ir.Block) -> Iterator[tuple[list[_Nest], tuple[int, ...]]]:
    """Runs of at least two nests that may share their rows, with the trip counts of the row loops."""
    group: list[_Nest] = []
    rows: tuple[int, ...] = ()
    for op in [item.operation for item in block.operations]:
        if op.name in PASSED_OVER or op.name.startswith("arith.constant"):
            continue
        nest = _Nest.of(op)
        shared = _shared_rows([*group, nest]) if nest is not None and group else ()
        if nest is not None and shared:
            group, rows = [*group, nest], shared
            continue
        if len(group) > 1:
            yield group, rows
        group = [nest] if nest is not None else []
    if len(group) > 1:
        yield group, rows


def _shared_rows(nests: Sequence[_Nest]) -> tuple[int, ...]:
    """Trip counts of the row loops that all `nests` may share; () if these are too few."""
    depth = 0
    for counts in zip(*(nest.rows for nest in nests), strict=False):
        if len(set(counts)) > 1:
            break
        depth += 1
    while depth and max(nest.row_length(depth) for nest in nests) < _LEAST_ROW:
        depth -= 1
    rows = nests[0].rows[:depth]
    return rows if math.prod(rows) >= _LEAST_ROWS and _rows_are_apart(nests, depth) else ()


def _rows_are_apart(nests: Sequence[_Nest], depth: int) -> bool:
    """True if whatever is written is met at the same row only."""
    written = {access.base for nest in nests for access in nest.walked if access.written}
    for base in written:
        met = [nest.footprint(access, depth) for nest in nests for access in nest.walked if access.base == base]
        if len({(offset, strides) for offset, strides, _ in met}) > 1:
            return False
        reach = max(each for _, _, each in met)
        for stride, count in sorted(zip(met[0][1], nests[0].rows, strict=False)):
            if stride <= reach:
                return False
            reach += stride * (count - 1)
    return True


def _fuse(nests: Sequence[_Nest], rows: Sequence[int]) -> None:
    """Put the nests, some rows at a time, into one loop at the place of the last."""
    end, block = nests[-1].op, _rows_at_once(nests, rows)
    index, ip = ir.IndexType.get(), ir.InsertionPoint(end)
    counts = [*rows[:-1], rows[-1] // block]
    with ip:
        bounds = [arith.constant(index, value) for value in (*[0] * len(rows), *counts, *[1] * len(rows))]
    segments = {"operandSegmentSizes": ir.DenseI32ArrayAttr.get([len(rows)] * 3 + [0])}
    loop = ir.Operation.create("scf.parallel", operands=bounds, attributes=segments, regions=1, loc=end.location, ip=ip)
    body = loop.regions[0].blocks.append(*[index] * len(rows), arg_locs=[end.location] * len(rows))
    inside = ir.InsertionPoint(body)
    *places, last = body.arguments
    with inside:
        places.append(arith.muli(last, arith.constant(index, block)))
    for nest in nests:
        with nest.op.location:
            _Rows(nest, dict(zip(nest.outer, places, strict=False)), nest.outer[len(rows) - 1], block).emit(inside)
        nest.op.erase()
    ir.Operation.create("scf.reduce", ip=inside)


def _rows_at_once(nests: Sequence[_Nest], rows: Sequence[int]) -> int:
    """Neighbouring rows that the nests visit in turn: the ends of sums wait for no other row then. A divisor of the last
    of `rows` that stays in level-1 cache and leaves enough for threads.
    """
    size = 4 * max(nest.row_length(len(rows)) for nest in nests)
    most = min(_BLOCK_BYTES // size, math.prod(rows) // _LEAST_ROWS)
    return max((count for count in range(1, most + 1) if rows[-1] % count == 0), default=1)


@dataclass(frozen=True, slots=True)
class _Rows:
    """A nest on a block of rows: `places` says where its row loops are; `blocked` is the one that stays, `block` long."""

    nest: _Nest
    places: Mapping[int, ir.Value]
    blocked: int
    block: int

    def emit(self, ip: ir.InsertionPoint) -> None:
        """The same body over views, without the row loops."""
        op, loops = self.nest.op, range(len(self.nest.counts))
        kept = [loop for loop in loops if loop not in self.places or loop == self.blocked]
        views, maps = [], []
        for access in self.nest.walked:
            axes = [
                axis for axis, at in enumerate(access.indexing.results) if self._row_loop(at) in (None, self.blocked)
            ]
            views.append(self._view(access, axes, ip))
            inner = [access.indexing.results[axis] for axis in axes]
            maps.append(ir.AffineMapAttr.get(composed(inner, renumbered(kept, len(loops)))))
        kinds = list(ir.ArrayAttr(op.attributes["iterator_types"]))
        attributes = {name: op.attributes[name] for name in op.attributes}
        attributes["indexing_maps"] = ir.ArrayAttr.get(maps)
        attributes["iterator_types"] = ir.ArrayAttr.get([kinds[loop] for loop in kept])
        row = ir.Operation.create("linalg.generic", operands=views, attributes=attributes, regions=1, ip=ip)
        old = op.regions[0].blocks[0]
        types = [argument.type for argument in old.arguments]
        body = row.regions[0].blocks.append(*types, arg_locs=[op.location] * len(types))
        values = dict(zip(old.arguments, body.arguments, strict=True))
        clone_body([item.operation for item in old.operations], body, values)

    def _row_loop(self, index: ir.AffineExpr) -> int | None:
        """The row loop that an index is, if it is one."""
        return index.position if isinstance(index, ir.AffineDimExpr) and index.position in self.places else None

    def _view(self, access: Access, axes: Sequence[int], ip: ir.InsertionPoint) -> ir.Value:
        """What the block of rows sees of an operand: its `axes`."""
        shape, buffer = shape_of(access.operand), ir.MemRefType(access.operand.type)
        walked = [self._row_loop(index) for index in access.indexing.results]
        if all(loop is None for loop in walked):
            return access.operand
        steps, _ = buffer.get_strides_and_offset()
        sizes = [
            size if loop is None else self.block if loop == self.blocked else 1
            for size, loop in zip(shape, walked, strict=True)
        ]
        layout = ir.StridedLayoutAttr.get(ir.ShapedType.get_dynamic_stride_or_offset(), [steps[axis] for axis in axes])
        view = ir.MemRefType.get([sizes[axis] for axis in axes], element_of(access.operand), layout=layout)
        taken = [self.places[loop] for loop in walked if loop is not None]
        offsets = [0 if loop is None else ir.ShapedType.get_dynamic_size() for loop in walked]
        attributes = {
            "static_offsets": ir.DenseI64ArrayAttr.get(offsets),
            "static_sizes": ir.DenseI64ArrayAttr.get(sizes),
            "static_strides": ir.DenseI64ArrayAttr.get([1] * len(shape)),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, len(taken), 0, 0]),
        }
        return ir.Operation.create(
            "memref.subview", results=[view], operands=[access.operand, *taken], attributes=attributes, ip=ip
        ).results[0]
