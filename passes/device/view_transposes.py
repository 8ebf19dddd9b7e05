"""view_transposes: products of two activations read and write transposed tensors where they are.

Before:
    linalg.generic {indexing_maps = [(a, b, c, d) -> (a, c, b, d), (a, b, c, d) -> (a, b, c, d)]} ins(%x : memref<2x16x4x8xf32>)
      outs(%t : memref<2x4x16x8xf32>) { linalg.yield %in }
    linalg.generic {library_call = "sparsec"} ins(%t, %q) outs(%y) { "sparsec.matmul" }
After:
    %t = memref.reinterpret_cast %x to offset: [0], sizes: [2, 4, 16, 8], strides: [512, 8, 32, 1]
    linalg.generic {library_call = "sparsec"} ins(%t, %q) outs(%y) { "sparsec.matmul" }

The other way round, a result of which a transposed copy is made is written transposed.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch_mlir import ir

from sparsec.ir.module import element_of, main_block, shape_of
from sparsec.passes.access import VIEWS, Access, trip_counts
from sparsec.passes.device.buffers import is_alloc, uses_of
from sparsec.passes.device.nests import nest_of
from sparsec.passes.layer import Layer, is_layer
from sparsec.passes.unit import Unit

_TAKE_STRIDES = ("sparsec.matmul", "sparsec.attention")


def view_transposes(unit: Unit) -> None:
    """Replace copies that only move elements, between buffers that are written once, by views."""
    with unit.module.context, ir.Location.unknown():
        for op in [item.operation for item in main_block(unit.module).operations]:
            moved = _moved(op)
            if moved is None or not all(_written_once(each.base) for each in moved):
                continue
            source, target = moved
            with op.location:
                if _read_by_products(op, target):
                    _look_at(target, source, op, op)
                elif _written_by_product(op, source):
                    _look_at(source, target, op, source.base.owner.operation)


def _moved(op: ir.Operation) -> tuple[Access, Access] | None:
    """What a nest copies from and to, if that is all it does and it repeats nothing."""
    nest = nest_of(op)
    if nest is None or nest.sums or len(nest.accesses) != 2:
        return None
    block, (source, target) = op.regions[0].blocks[0], nest.accesses
    *arithmetic, end = [each.operation for each in block.operations]
    copies = not arithmetic and end.operands[0] == block.arguments[0]
    repeats = any(not stride for loop in nest.rows for stride in loop.strides)
    same = element_of(source.base) == element_of(target.base)
    return (source, target) if copies and same and not repeats else None


def _takes_strides(op: ir.Operation) -> bool:
    return op.name == "linalg.generic" and is_layer(op) and Layer(op).contraction.name in _TAKE_STRIDES


def _read_by_products(copy: ir.Operation, target: Access) -> bool:
    """True if an allocation is only read, and only by products of two activations, each of which may have strides."""
    uses = [(op, position) for op, position, _ in uses_of(target.base) if op != copy]
    return is_alloc(target.base) and bool(uses) and all(
        _takes_strides(op) and position < len(op.operands) - 1 for op, position in uses
    )  # fmt: skip


def _written_by_product(copy: ir.Operation, source: Access) -> bool:
    """True if an allocation is only there to be copied from, and a product of two activations writes it."""
    uses = [(op, position) for op, position, _ in uses_of(source.base) if op != copy]
    return is_alloc(source.base) and len(uses) == 1 and all(
        _takes_strides(op) and position == len(op.operands) - 1 for op, position in uses
    )  # fmt: skip


def _written_once(base: ir.Value) -> bool:
    """True if at most one op writes it; what others write may change while a view is in use."""
    return sum(_writes(op, position) for op, position, _ in uses_of(base) if op.name != "memref.dealloc") <= 1


def _writes(op: ir.Operation, position: int) -> bool:
    return op.name != "linalg.generic" or position == len(op.operands) - 1


def _look_at(gone: Access, kept: Access, copy: ir.Operation, place: ir.Operation) -> None:
    """Let `gone`'s buffer be a view, made at `place`, of that of `kept`, if the nest `copy` pairs their axes."""
    strides = _paired(gone, kept, trip_counts(copy))
    if strides is None:
        return
    if is_alloc(kept.base) and place != copy:
        kept.base.owner.operation.move_before(place)
    shape = shape_of(gone.base)
    layout = ir.StridedLayoutAttr.get(kept.offset or 0, strides)
    view = ir.Operation.create(
        "memref.reinterpret_cast",
        results=[ir.MemRefType.get(shape, element_of(gone.base), layout=layout)],
        operands=[kept.base],
        attributes={
            "static_offsets": ir.DenseI64ArrayAttr.get([kept.offset or 0]),
            "static_sizes": ir.DenseI64ArrayAttr.get(list(shape)),
            "static_strides": ir.DenseI64ArrayAttr.get(strides),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 0, 0, 0]),
        },
        ip=ir.InsertionPoint(place),
    ).results[0]
    copy.erase()
    alloc = gone.base.owner.operation
    gone.base.replace_all_uses_with(view)
    alloc.erase()


def _paired(gone: Access, kept: Access, counts: Sequence[int]) -> list[int] | None:
    """Strides in `kept` of the axes of `gone`'s buffer; None if some axis is not one loop of the copy, or is not used as it is."""
    if any(use.owner.operation.name in VIEWS for use in gone.base.uses if use.owner.operation != gone.operand.owner):
        return None
    steps, _ = ir.MemRefType(gone.base.type).get_strides_and_offset()
    found: list[int] = []
    for size, step in zip(shape_of(gone.base), steps, strict=True):
        loops = [at for at, count in enumerate(counts) if count == size and gone.strides[at] == step]
        if size == 1:
            found.append(1)
        elif len(loops) == 1:
            found.append(kept.strides[loops[0]])
        else:
            return None
    return found
