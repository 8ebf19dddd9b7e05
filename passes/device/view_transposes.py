"""view_transposes: products read and write tensors that lie in another order, or come in 16 bits, where they are.

Before:
    linalg.generic {indexing_maps = [(a, b, c, d) -> (a, c, b, d), (a, b, c, d) -> (a, b, c, d)]} ins(%x : memref<2x16x4x8xf32>)
      outs(%t : memref<2x4x16x8xf32>) { linalg.yield %in }
    linalg.generic {library_call = "sparsec"} ins(%t, %q) outs(%y) { "sparsec.matmul" }
After:
    %t = memref.reinterpret_cast %x to offset: [0], sizes: [2, 4, 16, 8], strides: [512, 8, 32, 1]
    linalg.generic {library_call = "sparsec"} ins(%t, %q) outs(%y) { "sparsec.matmul" }

The other way round, a result of which a transposed copy is made is written transposed. A copy that only widens halves is none
to products, which take halves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch_mlir import ir

from sparsec.ir.module import element_of, main_block, shape_of
from sparsec.passes.access import Access, trip_counts
from sparsec.passes.device.buffers import half_positions, is_alloc, narrow_argument, uses_of
from sparsec.passes.device.fit_operands import is_even
from sparsec.passes.device.nests import nest_of
from sparsec.passes.device.restride import placed, view_of
from sparsec.passes.layer import Layer, is_layer
from sparsec.passes.unit import Unit


def view_transposes(unit: Unit) -> None:
    """Replace copies that only move elements, between buffers that are written once, by views."""
    with unit.module.context, ir.Location.unknown():
        for op in [item.operation for item in main_block(unit.module).operations]:
            moved = _moved(op, unit.half)
            if moved is None or not all(_written_once(each.base) for each in moved):
                continue
            source, target = moved
            with op.location:
                if _only_products(op, target, read=True) and _look_at(target, source, op, op):
                    continue
                if _only_products(op, source, read=False):
                    _look_at(source, target, op, source.base.owner.operation)


def _moved(op: ir.Operation, half: str) -> tuple[Access, Access] | None:
    """What a nest copies from and to, if that is all it does, and it repeats nothing."""
    nest = nest_of(op)
    if nest is None or nest.sums or len(nest.accesses) != 2:
        return None
    block, (source, target) = op.regions[0].blocks[0], nest.accesses
    *arithmetic, end = [each.operation for each in block.operations]
    value = end.operands[0]
    if len(arithmetic) == 1 and arithmetic[0].name in ("arith.extf", "arith.truncf"):
        kinds = sorted(str(element_of(each.base)) for each in nest.accesses)
        value = arithmetic[0].operands[0] if kinds == sorted(("f32", half)) else value
    elif arithmetic:
        return None
    repeats = any(not stride for loop in nest.rows for stride in loop.strides)
    return (source, target) if value == block.arguments[0] and not repeats else None


def _only_products(copy: ir.Operation, gone: Access, *, read: bool) -> bool:
    """True if, but for a copy, an allocation is only used by layers, as what they take in 16 bits: read, or else written by one."""
    uses = [(op, position) for op, position, _ in uses_of(gone.base) if op != copy]
    if not is_alloc(gone.base) or not uses or (not read and len(uses) > 1):
        return False
    if any(op.name != "linalg.generic" or not is_layer(op) for op, _ in uses):
        return False
    return all(
        position in half_positions(Layer(op)) and (position < len(op.operands) - 1) == read for op, position in uses
    )


def _written_once(base: ir.Value) -> bool:
    """True if at most one op writes it; what others write may change while a view is in use."""
    return sum(_writes(op, position) for op, position, _ in uses_of(base) if op.name != "memref.dealloc") <= 1


def _writes(op: ir.Operation, position: int) -> bool:
    return op.name != "linalg.generic" or position == len(op.operands) - 1


def _look_at(gone: Access, kept: Access, copy: ir.Operation, place: ir.Operation) -> bool:
    """Let `gone`'s buffer be a view, made at `place`, of that of `kept`; tells whether that can be."""
    strides = _paired(gone, kept, trip_counts(copy))
    if strides is None:
        return False
    if is_alloc(kept.base) and place != copy:
        kept.base.owner.operation.move_before(place)
    uses = [(op, position, view) for op, position, view in uses_of(gone.base) if op != copy]
    ip, start = ir.InsertionPoint(place), kept.offset or 0
    views = [
        view_of(kept.base, replace(seen, offset=start + seen.offset), ip)
        for _, _, view in uses
        if (seen := placed(view, strides)) is not None
    ]
    if len(views) != len(uses) or not all(
        is_even(Layer(op), view) for (op, _, _), view in zip(uses, views, strict=True)
    ):
        return False  # what was made for nothing goes with the next clean-up
    for (op, position, _), view in zip(uses, views, strict=True):
        op.operands[position] = view
        narrow_argument(op, position, element_of(view))
    copy.erase()
    return True


def _paired(gone: Access, kept: Access, counts: Sequence[int]) -> list[int] | None:
    """Strides in `kept` of the axes of `gone`'s buffer; None if some axis is not one loop of the copy."""
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
