"""Buffers in another order of memory: what a chain of views of one becomes when its strides do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch_mlir import ir

from sparsec.ir.module import element_of, integers, shape_of
from sparsec.passes.device.buffers import ALLOC, axis_groups


@dataclass(frozen=True, slots=True)
class Placed:
    """An array in a buffer: its shape, its strides, and where it begins; elements."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0


def placed(view: ir.Value, strides: Sequence[int]) -> Placed | None:
    """A view of an allocation whose strides become these; None if it has none then."""
    op = view.owner.operation
    if op.name == ALLOC:
        return Placed(shape_of(view), tuple(strides))
    inner = placed(op.operands[0], strides)
    if inner is None:
        return None
    match op.name:
        case "memref.collapse_shape":
            return _collapsed(shape_of(view), inner, axis_groups(op))
        case "memref.expand_shape":
            return _expanded(shape_of(view), inner, axis_groups(op))
        case "memref.subview":
            return _part(shape_of(view), inner, op)
        case _:
            return None


def view_of(base: ir.Value, at: Placed, ip: ir.InsertionPoint) -> ir.Value:
    """A buffer as that array."""
    layout = ir.StridedLayoutAttr.get(at.offset, list(at.strides))
    return ir.Operation.create(
        "memref.reinterpret_cast",
        results=[ir.MemRefType.get(list(at.shape), element_of(base), layout=layout)],
        operands=[base],
        attributes={
            "static_offsets": ir.DenseI64ArrayAttr.get([at.offset]),
            "static_sizes": ir.DenseI64ArrayAttr.get(list(at.shape)),
            "static_strides": ir.DenseI64ArrayAttr.get(list(at.strides)),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 0, 0, 0]),
        },
        ip=ip,
    ).results[0]


def _collapsed(shape: Sequence[int], inner: Placed, groups: Sequence[Sequence[int]]) -> Placed | None:
    """Axes made one: each but the first must run on where the one before it ends."""
    before, steps, found = inner.shape, inner.strides, []
    for group in groups:
        wide = [axis for axis in group if before[axis] != 1]
        if any(steps[far] != before[near] * steps[near] for far, near in pairwise(wide)):
            return None
        found.append(steps[wide[-1]] if wide else 1)
    return Placed(tuple(shape), tuple(found), inner.offset)


def _expanded(shape: Sequence[int], inner: Placed, groups: Sequence[Sequence[int]]) -> Placed:
    found = [0] * len(shape)
    for step, group in zip(inner.strides, groups, strict=True):
        for axis in reversed(group):
            found[axis] = step
            step *= shape[axis]
    return Placed(tuple(shape), tuple(found), inner.offset)


def _part(shape: Sequence[int], inner: Placed, subview: ir.Operation) -> Placed | None:
    """A subview that keeps all axes."""
    offsets, steps = (integers(subview.attributes[name]) for name in ("static_offsets", "static_strides"))
    if len(subview.operands) > 1 or len(shape) != len(inner.shape):
        return None
    start = sum(first * stride for first, stride in zip(offsets, inner.strides, strict=True))
    strides = tuple(step * stride for step, stride in zip(steps, inner.strides, strict=True))
    return Placed(tuple(shape), strides, inner.offset + start)
