"""Resize of ONNX as products with constant matrices, gathers and plain arithmetic.

Upstream knows some modes only, of some ranks. Interpolation is separable: along each axis it is a product with a matrix that
is known when compiling and has few non-zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from sparsec.frontends.onnx_builder import Builder

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axis:
    """How one axis is resized: sizes, the scale that the node states, and its region of interest (normalised)."""

    number: int
    source: int
    target: int
    scale: float
    begin: float
    end: float


def resize(b: Builder) -> list[NodeProto] | None:
    """Nearest-neighbour enlargement by whole factors repeats elements (a broadcast and two reshapes); other nearest
    neighbours are gathered; the rest are products with matrices.
    """
    source, target = b.shape(b.input(0)), b.shape(b.node.output[0])
    if source is None or target is None or 0 in (*source, *target) or len(source) != len(target):
        return None
    if _repeats(b, source, target):
        return _repeat(b, source, target)
    axes = _axes(b, source, target)
    element = b.element(b.input(0))
    mode = b.word("mode", "nearest")
    if axes is None or mode not in ("nearest", "linear", "cubic"):
        return None
    x = b.input(0)
    if mode == "nearest":
        for axis in axes:
            x = _gather(b, x, axis)
    else:
        if element not in (TensorProto.FLOAT, TensorProto.DOUBLE):
            x = b.cast(x, TensorProto.FLOAT)
        for axis in axes:
            x = _multiply(b, x, axis, len(source))
        if element not in (TensorProto.FLOAT, TensorProto.DOUBLE):
            x = b.cast(x if element == TensorProto.FLOAT16 else b.emit("Round", x), element)
    x = _extrapolate(b, x, axes, target)
    b.emit("Identity", x, to=b.node.output[0])
    return b.nodes


def _repeats(b: Builder, source: tuple[int, ...], target: tuple[int, ...]) -> bool:
    place = b.word("coordinate_transformation_mode", "half_pixel")
    rounding = b.word("nearest_mode", "round_prefer_floor")
    if b.word("mode", "nearest") != "nearest" or b.attribute("axes") is not None:
        return False
    if (place, rounding) not in {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor")}:
        return False
    if any(t % s for s, t in zip(source, target, strict=True)):
        return False
    scales = b.array(b.input(2))
    if scales is None or not scales.size:
        return bool(b.input(3)) and b.word("keep_aspect_ratio_policy", "stretch") == "stretch"
    return np.array_equal(scales, np.array(target) / np.array(source))


def _repeat(b: Builder, source: tuple[int, ...], target: tuple[int, ...]) -> list[NodeProto]:
    split = [n for size in source for n in (size, 1)]
    repeated = [n for s, t in zip(source, target, strict=True) for n in (s, t // s)]
    many = b.emit("Expand", b.reshape(b.input(0), split), b.whole(*repeated))
    b.reshape(many, target, to=b.node.output[0])
    return b.nodes


def _axes(b: Builder, source: tuple[int, ...], target: tuple[int, ...]) -> list[Axis] | None:
    """The axes that change, or that a region of interest moves; None when scales or regions are not constant."""
    rank = len(source)
    numbers = [axis % rank for axis in b.ints("axes", list(range(rank)))]
    scales, sizes, regions = (b.array(b.input(i)) for i in (2, 3, 1))
    crops = b.word("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    policy = b.word("keep_aspect_ratio_policy", "stretch")
    if b.input(2) and scales is None and (sizes is None or not sizes.size):
        if b.word("coordinate_transformation_mode", "half_pixel") == "align_corners":
            raise b.refuse("its scales are not known when compiling")
        return None
    if (crops and regions is None) or (sizes is None and b.input(3) and policy != "stretch"):
        return None
    if scales is not None and scales.size:
        ratios = [float(scale) for scale in scales]
    elif sizes is not None and sizes.size:
        ratios = [int(size) / source[number] for size, number in zip(sizes, numbers, strict=True)]
        if policy != "stretch":
            ratios = [(min if policy == "not_larger" else max)(ratios)] * len(ratios)
    else:
        ratios = [target[number] / source[number] for number in numbers]
    found = []
    for position, (number, scale) in enumerate(zip(numbers, ratios, strict=True)):
        begin, end = (0.0, 1.0)
        if crops and regions is not None:
            begin, end = float(regions[position]), float(regions[position + len(numbers)])
        if source[number] != target[number] or scale != 1 or (begin, end) != (0.0, 1.0):
            found.append(Axis(number, source[number], target[number], scale, begin, end))
    return found


def _places(b: Builder, axis: Axis) -> Array:
    """Where the elements of the result lie along an axis of the operand."""
    x = np.arange(axis.target, dtype=np.float64)
    width = axis.scale * axis.source
    match b.word("coordinate_transformation_mode", "half_pixel"):
        case "align_corners":
            return x * 0 if width == 1 else x * (axis.source - 1) / (width - 1)
        case "asymmetric":
            return x / axis.scale
        case "tf_crop_and_resize":
            reach = (axis.end - axis.begin) * (axis.source - 1)
            step = x * 0 + 0.5 if width == 1 else x / (width - 1)
            return axis.begin * (axis.source - 1) + step * reach
        case "pytorch_half_pixel" if width == 1:
            return x * 0
        case "half_pixel_symmetric":
            return axis.source / 2 * (1 - axis.target / width) + (x + 0.5) / axis.scale - 0.5
        case "half_pixel" | "pytorch_half_pixel" | "tf_half_pixel_for_nn":
            return (x + 0.5) / axis.scale - 0.5
        case other:
            raise b.refuse(f"coordinate_transformation_mode = {other!r} is not a known word")


def _gather(b: Builder, x: str, axis: Axis) -> str:
    places = _places(b, axis)
    match b.word("nearest_mode", "round_prefer_floor"):
        case "round_prefer_floor":
            nearest = np.ceil(places - 0.5)
        case "round_prefer_ceil":
            nearest = np.floor(places + 0.5)
        case "floor":
            nearest = np.floor(places)
        case "ceil":
            nearest = np.ceil(places)
        case other:
            raise b.refuse(f"nearest_mode = {other!r} is not a known word")
    indices = np.clip(nearest, 0, axis.source - 1).astype(np.int64)
    name = b.constant(f"indices.{axis.number}", indices)
    return b.emit("Gather", x, name, attributes={"axis": axis.number})


def _multiply(b: Builder, x: str, axis: Axis, rank: int) -> str:
    """The product with the interpolation matrix along an axis, which is the last one meanwhile."""
    wide = b.element(b.input(0)) == TensorProto.DOUBLE
    matrix = _matrix(b, axis).astype(np.float64 if wide else np.float32)
    weight = b.constant(f"interpolation.{axis.number}", np.ascontiguousarray(matrix.T))
    if axis.number == rank - 1:
        return b.emit("MatMul", x, weight) if rank > 1 else _of_vector(b, x, weight, axis)
    swap = list(range(rank))
    swap[axis.number], swap[-1] = swap[-1], swap[axis.number]
    turned = b.emit("Transpose", x, attributes={"perm": swap})
    return b.emit("Transpose", b.emit("MatMul", turned, weight), attributes={"perm": swap})


def _of_vector(b: Builder, x: str, weight: str, axis: Axis) -> str:
    return b.reshape(b.emit("MatMul", b.reshape(x, (1, axis.source)), weight), (axis.target,))


def _matrix(b: Builder, axis: Axis) -> Array:
    """[target, source]: the weights with which elements of the operand enter each element of the result."""
    places = _places(b, axis)
    floor = np.floor(places)
    cubic = b.word("mode", "nearest") == "cubic"
    shrink = min(axis.scale, 1.0) if b.integer("antialias", 0) else 1.0
    reach = math.ceil((2 if cubic else 1) / shrink)
    taps = np.arange(1 - reach, reach + 1)
    distance = np.abs(taps[None, :] - (places - floor)[:, None]) * shrink
    weights = _cubic(distance, b.real("cubic_coeff_a", -0.75)) if cubic else np.clip(1 - distance, 0, 1)
    indices = floor[:, None].astype(np.int64) + taps[None, :]
    if b.integer("exclude_outside", 0):
        weights = np.where((indices < 0) | (indices >= axis.source), 0, weights)
    total = weights.sum(axis=1, keepdims=True)
    weights = weights / np.where(total == 0, 1, total)
    matrix = np.zeros((axis.target, axis.source))
    rows = np.broadcast_to(np.arange(axis.target)[:, None], indices.shape)
    np.add.at(matrix, (rows, np.clip(indices, 0, axis.source - 1)), weights)
    return matrix


def _cubic(distance: Array, a: float) -> Array:
    """Keys' cubic convolution kernel (1981)."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def _extrapolate(b: Builder, x: str, axes: list[Axis], target: tuple[int, ...]) -> str:
    """Elements that lie outside of the operand have the value that the node says."""
    if b.word("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize":
        return x
    outside = np.zeros(target, np.bool_)
    for axis in axes:
        places = _places(b, axis)
        lost = (places < 0) | (places > axis.source - 1)
        outside |= lost.reshape([-1 if number == axis.number else 1 for number in range(len(target))])
    value = b.number(b.real("extrapolation_value", 0.0), b.element(b.input(0)))
    return b.emit("Where", b.constant("outside", outside), value, x) if outside.any() else x
