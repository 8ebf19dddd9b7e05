"""Pad of ONNX in forms that upstream lowers right."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from sparsec.frontends.onnx_builder import Builder

Places = NDArray[np.int64]
Growth = Mapping[int, tuple[int, int]]  # by axis: how many elements it gets before and behind, negative: loses

_BEYOND: Mapping[str, Callable[[Places, int], Places]] = {
    "wrap": lambda places, size: places % size,
    "edge": lambda places, size: np.clip(places, 0, size - 1),
    "reflect": lambda places, size: size - 1 - np.abs(places % max(2 * size - 2, 1) - (size - 1)),
}
"""Which element of an axis stands at a place that may be before its begin or beyond its end."""


def pad(b: Builder) -> list[NodeProto] | None:
    """Negative amounts: a slice first, in all modes. Round the axis (upstream does not come to an end), and reflections and
    edges along others than the last two axes (it refuses them): a gather along each axis that grows.
    """
    shape, amounts, axes = b.shape(b.input(0)), b.array(b.input(1)), b.array(b.input(3))
    if shape is None or amounts is None or (b.input(3) and axes is None):
        return None
    numbers = range(len(shape)) if axes is None else [int(axis) % len(shape) for axis in axes]
    given = [int(amount) for amount in amounts]
    grown = dict(zip(numbers, zip(given[: len(numbers)], given[len(numbers) :], strict=True), strict=True))
    mode = b.word("mode", "constant")
    gathered = [
        axis
        for axis, more in grown.items()
        if any(more) and (mode == "wrap" or (mode in _BEYOND and axis < len(shape) - 2))
    ]
    if not gathered and min(given, default=0) >= 0:
        return None
    x, shape, grown = cut(b, b.input(0), shape, grown)
    for axis in gathered:
        begin, end = grown.pop(axis)
        places = _BEYOND[mode](np.arange(-begin, shape[axis] + end, dtype=np.int64), shape[axis])
        x = b.emit("Gather", x, b.constant(f"{mode}.{axis}", places), attributes={"axis": axis})
    if not any(map(any, grown.values())):
        b.emit("Identity", x, to=b.node.output[0])
        return b.nodes
    rest = [grown.get(axis, (0, 0)) for axis in range(len(shape))]
    b.node.input[:] = [x, b.whole(*(begin for begin, _ in rest), *(end for _, end in rest)), *b.node.input[2:3]]
    return [*b.nodes, b.node]


def cut(
    b: Builder, x: str, shape: tuple[int, ...], grown: Growth
) -> tuple[str, tuple[int, ...], dict[int, tuple[int, int]]]:
    """A slice of `x` for the negative ones of what axes grow by, before and behind: it, its shape and the other amounts."""
    lost = {axis: (max(-begin, 0), max(-end, 0)) for axis, (begin, end) in grown.items() if min(begin, end) < 0}
    left = {axis: (max(begin, 0), max(end, 0)) for axis, (begin, end) in grown.items()}
    if not lost:
        return x, shape, left
    starts = b.whole(*(begin for begin, _ in lost.values()))
    ends = b.whole(*(shape[axis] - end for axis, (_, end) in lost.items()))
    kept = tuple(size - sum(lost.get(axis, ())) for axis, size in enumerate(shape))
    return b.emit("Slice", x, starts, ends, b.whole(*lost)), kept, left
