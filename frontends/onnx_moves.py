"""Operators of ONNX that move elements, in forms that upstream lowers right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import NodeProto, TensorProto

from sparsec.frontends.onnx_builder import Builder


def space_to_depth(b: Builder) -> list[NodeProto] | None:
    """The order column-row-depth, which upstream ignores: a reshape, a transposition, a reshape."""
    shape, size = b.shape(b.input(0)), b.integer("blocksize", 1)
    if shape is None:
        return None
    n, c, h, w = shape
    return _column_row_depth(b, (n, c, h // size, size, w // size, size), (0, 1, 3, 5, 2, 4))


def depth_to_space(b: Builder) -> list[NodeProto] | None:
    """The order column-row-depth, of which upstream confuses depth and block: a reshape, a transposition, a reshape."""
    shape, size = b.shape(b.input(0)), b.integer("blocksize", 1)
    if shape is None:
        return None
    n, c, h, w = shape
    return _column_row_depth(b, (n, c // size**2, size, size, h, w), (0, 1, 4, 2, 5, 3))


def _column_row_depth(b: Builder, split: tuple[int, ...], turned: tuple[int, ...]) -> list[NodeProto] | None:
    """Axes split into these sizes, and put in this order."""
    target = b.shape(b.node.output[0])
    if b.word("mode", "DCR") != "CRD" or target is None:
        return None
    moved = b.emit("Transpose", b.reshape(b.input(0), split), attributes={"perm": list(turned)})
    b.reshape(moved, target, to=b.node.output[0])
    return b.nodes


def expand_to(b: Builder) -> list[NodeProto] | None:
    """To the shape of the result: upstream ends the process on one of lower rank than the operand."""
    source, target = b.shape(b.input(0)), b.shape(b.node.output[0])
    asked = b.array(b.input(1))
    if source is None or target is None or (asked is not None and tuple(int(size) for size in asked) == target):
        return None
    if source == target:
        b.emit("Identity", b.input(0), to=b.node.output[0])
        return b.nodes
    b.node.input[1] = b.whole(*target)
    return [b.node]


def slice_within(b: Builder) -> list[NodeProto] | None:
    """A step backwards (upstream reads outside of the operand where a bound lies beyond it): a slice forwards, and a
    reversal.
    """
    shape, starts, ends, axes, steps = b.shape(b.input(0)), *(b.array(b.input(i)) for i in range(1, 5))
    if shape is None or starts is None or ends is None or steps is None or (b.input(3) and axes is None):
        return None
    numbers = range(len(starts)) if axes is None else [int(axis) % len(shape) for axis in axes]
    bounds = {axis: (int(x), int(y), int(z)) for axis, x, y, z in zip(numbers, starts, ends, steps, strict=True)}
    backwards = {axis: _backwards(shape[axis], *bound) for axis, bound in bounds.items() if bound[2] < 0}
    if not backwards or not all(backwards.values()):
        return None
    bounds |= {axis: (read[-1], read[0] + 1, -read.step) for axis, read in backwards.items()}
    x = b.emit("Slice", b.input(0), *_slice_operands(b, bounds))
    reversal = _slice_operands(b, dict.fromkeys(backwards, (-1, -LARGEST, -1)))
    b.emit("Slice", x, *reversal, to=b.node.output[0])
    return b.nodes


LARGEST = (1 << 63) - 1


def _slice_operands(b: Builder, bounds: Mapping[int, tuple[int, int, int]]) -> tuple[str, ...]:
    starts, ends, steps = (b.whole(*column) for column in zip(*bounds.values(), strict=True))
    return starts, ends, b.whole(*bounds), steps


def _backwards(size: int, start: int, end: int, step: int) -> range:
    """What a slice with a negative step reads of an axis."""
    first = min(max(start + size if start < 0 else start, 0), size - 1)
    return range(first, min(max(end + size if end < 0 else end, -1), size - 1), step)


def one_hot(b: Builder) -> list[NodeProto] | None:
    """A comparison with all places; an index outside is nowhere, which upstream takes for another place."""
    target, depth, element = b.shape(b.node.output[0]), b.array(b.input(1)), b.element(b.input(0))
    shape = b.shape(b.input(0))
    if target is None or depth is None or shape is None:
        return None
    size = int(depth.reshape(-1)[0])
    axis = b.integer("axis", -1) % (len(shape) + 1)
    index = b.input(0) if element == TensorProto.INT64 else b.cast(b.input(0), TensorProto.INT64)
    below = b.emit("Less", index, b.number(0, TensorProto.INT64))
    index = b.emit("Where", below, b.emit("Add", index, b.number(size, TensorProto.INT64)), index)
    places = b.constant("places", np.arange(size).reshape(-1, *([1] * (len(shape) - axis))))
    hit = b.emit("Equal", b.emit("Unsqueeze", index, b.whole(axis)), places)
    off, on = (b.reshape(b.emit("Slice", b.input(2), b.whole(i), b.whole(i + 1)), ()) for i in (0, 1))
    b.emit("Where", hit, on, off, to=b.node.output[0])
    return b.nodes


def reverse_sequence(b: Builder) -> list[NodeProto] | None:
    """A gather of elements whose places count down from the length of each sequence."""
    shape = b.shape(b.input(0))
    time, batch = b.integer("time_axis", 0), b.integer("batch_axis", 1)
    if shape is None or 0 in shape:
        return None
    step = b.constant("steps", np.arange(shape[time]).reshape([-1 if i == time else 1 for i in range(len(shape))]))
    lengths = b.reshape(b.cast(b.input(1), TensorProto.INT64), [-1 if i == batch else 1 for i in range(len(shape))])
    down = b.emit("Sub", b.emit("Sub", lengths, b.number(1, TensorProto.INT64)), step)
    places = b.emit("Where", b.emit("Less", step, lengths), down, step)
    b.emit(
        "GatherElements",
        b.input(0),
        b.emit("Expand", places, b.whole(*shape)),
        to=b.node.output[0],
        attributes={"axis": time},
    )
    return b.nodes


def compress(b: Builder) -> list[NodeProto] | None:
    """With a constant condition: a gather."""
    condition, shape = b.array(b.input(1)), b.shape(b.input(0))
    if condition is None or shape is None:
        return None
    axis = b.attribute("axis")
    x = b.input(0) if axis is not None else b.reshape(b.input(0), (-1,))
    places = b.constant("places", np.flatnonzero(condition).astype(np.int64))
    attributes = {"axis": b.integer("axis", 0)}
    b.emit("Gather", x, places, to=b.node.output[0], attributes=attributes)
    return b.nodes


def scatter_elements(b: Builder) -> list[NodeProto] | None:
    """The greatest and the least: upstream knows them of ScatterND only, whose indices say every axis."""
    shape, indices = b.shape(b.input(0)), b.shape(b.input(1))
    if b.word("reduction", "none") not in ("max", "min") or shape is None or indices is None:
        return None
    axis = b.integer("axis", 0) % len(shape)
    parts = []
    for number in range(len(shape)):
        if number == axis:
            whole = b.cast(b.input(1), TensorProto.INT64)
        else:
            along = np.arange(indices[number]).reshape([-1 if i == number else 1 for i in range(len(shape))])
            whole = b.constant(f"places.{number}", np.ascontiguousarray(np.broadcast_to(along, indices)))
        parts.append(b.emit("Unsqueeze", whole, b.whole(-1)))
    every = b.emit("Concat", *parts, attributes={"axis": -1})
    word = {"reduction": b.word("reduction", "none")}
    b.emit("ScatterND", b.input(0), every, b.input(2), to=b.node.output[0], attributes=word)
    return b.nodes
