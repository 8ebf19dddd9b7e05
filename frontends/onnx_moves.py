"""Operators of ONNX that move elements, in forms that upstream lowers right."""

from __future__ import annotations

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


def pad(b: Builder) -> list[NodeProto] | None:
    """Round the axis: a gather along each that grows (upstream does not come to an end). Negative amounts, in all modes:
    a slice first.
    """
    shape, amounts = b.shape(b.input(0)), b.array(b.input(1))
    wraps = b.word("mode", "constant") == "wrap"
    if shape is None or amounts is None or not (wraps or (amounts.astype(np.int64) < 0).any()):
        return None
    axes = b.array(b.input(3))
    if b.input(3) and axes is None:
        return None
    numbers = [int(axis) % len(shape) for axis in axes] if axes is not None else list(range(len(shape)))
    if not wraps:
        return _cut(b, shape, numbers, amounts)
    x = b.input(0)
    for position, axis in enumerate(numbers):
        begin, end = int(amounts[position]), int(amounts[position + len(numbers)])
        if begin or end:
            indices = np.arange(-begin, shape[axis] + end, dtype=np.int64) % shape[axis]
            x = b.emit("Gather", x, b.constant(f"round.{axis}", indices), attributes={"axis": axis})
    b.emit("Identity", x, to=b.node.output[0])
    return b.nodes


def _cut(
    b: Builder, shape: tuple[int, ...], numbers: list[int], amounts: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
) -> list[NodeProto]:
    given = [int(amount) for amount in amounts]
    begin, end = given[: len(numbers)], given[len(numbers) :]
    starts = b.whole(*(max(-amount, 0) for amount in begin))
    ends = b.whole(*(shape[axis] - max(-amount, 0) for axis, amount in zip(numbers, end, strict=True)))
    x = b.emit("Slice", b.input(0), starts, ends, b.whole(*numbers))
    rest = b.whole(*(max(amount, 0) for amount in given))
    b.node.input[0], b.node.input[1] = x, rest
    return [*b.nodes, b.node]


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
