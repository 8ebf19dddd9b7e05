"""GridSample of ONNX as gathers and plain arithmetic; upstream reads outside of the operand.

Interpolation is separable (bicubic: Keys 1981): a sample is a sum over all combinations of the elements that it reads along each
axis, each with the product of their weights.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from onnx import NodeProto, TensorProto

from sparsec.frontends.onnx_builder import Builder

CUBIC = -0.75  # the operator has no attribute for it


def grid_sample(b: Builder) -> list[NodeProto] | None:
    """Each sample is a weighted sum of gathered elements; what lies outside is masked, clamped or mirrored as integers."""
    source, grid = b.shape(b.input(0)), b.shape(b.input(1))
    if source is None or grid is None or 0 in (*source, *grid) or b.element(b.input(0)) != TensorProto.FLOAT:
        return None
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(b.word("mode", "linear"), b.word("mode", "linear"))
    rank = len(source) - 2
    samples = (source[0], math.prod(grid[1:-1]))
    places = [_unnormalised(b, rank - 1 - axis, source[2 + axis], samples) for axis in range(rank)]
    along = [_taps(b, place, mode) for place in places]
    table = b.emit("Transpose", b.input(0), attributes={"perm": [0, *range(2, 2 + rank), 1]})
    table = b.reshape(table, (source[0] * math.prod(source[2:]), source[1]))
    total = ""
    for taps in itertools.product(*along):
        term = _term(b, table, [(index, weight) for index, weight in taps], source)
        total = b.emit("Add", total, term) if total else term
    back = b.reshape(b.emit("Transpose", total, attributes={"perm": [0, 2, 1]}), (source[0], source[1], *grid[1:-1]))
    b.emit("Identity", back, to=b.node.output[0])
    return b.nodes


def _float(b: Builder, value: float) -> str:
    return b.number(value, TensorProto.FLOAT)


def _unnormalised(b: Builder, component: int, size: int, samples: tuple[int, int]) -> str:
    """Positions [batch, samples] along an axis, in elements; the grid's last component is the first axis."""
    part = b.emit("Slice", b.input(1), b.whole(component), b.whole(component + 1), b.whole(-1))
    shifted = b.emit("Add", b.reshape(part, samples), _float(b, 1.0))
    if b.integer("align_corners", 0):
        return b.emit("Mul", shifted, _float(b, (size - 1) / 2))
    scaled = b.emit("Mul", shifted, _float(b, size))
    return b.emit("Mul", b.emit("Sub", scaled, _float(b, 1.0)), _float(b, 0.5))


def _taps(b: Builder, place: str, mode: str) -> list[tuple[str, str]]:
    """The elements along an axis that a sample reads: whole positions (as floats) and weights ("" is one)."""
    if mode == "nearest":
        return [(b.emit("Round", place), "")]
    floor = b.emit("Floor", place)
    ratio = b.emit("Sub", place, floor)
    left = b.emit("Sub", _float(b, 1.0), ratio)
    if mode == "linear":
        return [(floor, left), (b.emit("Add", floor, _float(b, 1.0)), ratio)]
    if mode != "cubic":
        raise b.refuse(f"mode = {mode!r} is not a known word")
    near = [_near(b, ratio), _near(b, left)]
    far = [_far(b, ratio), _far(b, left)]
    weights = [far[0], near[0], near[1], far[1]]
    return [(b.emit("Add", floor, _float(b, tap)), weight) for tap, weight in zip((-1, 0, 1, 2), weights, strict=True)]


def _near(b: Builder, t: str) -> str:
    """((a + 2) t - (a + 3)) t t + 1"""
    inner = b.emit("Sub", b.emit("Mul", t, _float(b, CUBIC + 2)), _float(b, CUBIC + 3))
    return b.emit("Add", b.emit("Mul", b.emit("Mul", inner, t), t), _float(b, 1.0))


def _far(b: Builder, t: str) -> str:
    """a (((d - 5) d + 8) d - 4) with d = t + 1, which is a t (t - 1) (t - 1)"""
    less = b.emit("Sub", t, _float(b, 1.0))
    return b.emit("Mul", b.emit("Mul", b.emit("Mul", t, less), less), _float(b, CUBIC))


def _term(b: Builder, table: str, taps: list[tuple[str, str]], source: tuple[int, ...]) -> str:
    """[batch, samples, channels]: one combination of taps, read and weighted."""
    batch, rank = source[0], len(source) - 2
    first = np.arange(batch, dtype=np.int64)[:, None] * math.prod(source[2:])
    row = b.constant("first", first)
    weight = ""
    for axis, (place, share) in enumerate(taps):
        size = source[2 + axis]
        inside, mask = _inside(b, place, size)
        stride = math.prod(source[3 + axis :])
        index = b.cast(inside, TensorProto.INT64)
        row = b.emit("Add", row, b.emit("Mul", index, b.number(stride, TensorProto.INT64)))
        for factor in (share, mask):
            if factor:
                weight = b.emit("Mul", weight, factor) if weight else factor
    read = b.emit("Gather", table, row, attributes={"axis": 0})
    assert rank == len(taps)
    return b.emit("Mul", read, b.emit("Unsqueeze", weight, b.whole(-1))) if weight else read


def _inside(b: Builder, place: str, size: int) -> tuple[str, str]:
    """A position brought inside, and the factor that is zero where it was not ("" in the modes without)."""
    mask = ""
    padding = b.word("padding_mode", "zeros")
    if padding == "reflection":
        place = _mirrored(b, place, size)
    elif padding not in ("zeros", "border"):
        raise b.refuse(f"padding_mode = {padding!r} is not a known word")
    clipped = b.emit("Clip", place, _float(b, 0.0), _float(b, size - 1))
    if padding == "zeros":
        mask = b.cast(b.emit("Equal", clipped, place), TensorProto.FLOAT)
    return clipped, mask


def _mirrored(b: Builder, place: str, size: int) -> str:
    """low + reach - |((place - low) mod 2 reach) - reach|"""
    low, high = (0.0, size - 1.0) if b.integer("align_corners", 0) else (-0.5, size - 0.5)
    reach = high - low
    if reach <= 0:
        return _float(b, 0.0)
    shifted = b.emit("Sub", place, _float(b, low))
    turns = b.emit("Floor", b.emit("Div", shifted, _float(b, 2 * reach)))
    rest = b.emit("Sub", shifted, b.emit("Mul", turns, _float(b, 2 * reach)))
    distance = b.emit("Abs", b.emit("Sub", rest, _float(b, reach)))
    return b.emit("Sub", _float(b, low + reach), distance)
