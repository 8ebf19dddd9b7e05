"""DFT and STFT of ONNX as products with a constant matrix: upstream has the former in one form only, and the latter not at all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from sparsec.frontends.onnx_builder import Builder

MOST_ELEMENTS = 1 << 24
"""Of the matrix: what a transform of 2048 complex numbers takes."""


@dataclass(frozen=True, slots=True)
class Transform:
    """X_k = sum_j x_j exp(-2 pi i j k / length); the inverse has the other sign, and divides by `length`."""

    length: int
    inverse: bool = False
    onesided: bool = False

    @property
    def results(self) -> int:
        return self.length // 2 + 1 if self.onesided else self.length

    def matrix(self, terms: int, parts: int) -> NDArray[np.float64]:
        """[terms * parts, results * 2]: real and imaginary parts are neighbours; of real operands there is one part."""
        turns = np.outer(np.arange(terms), np.arange(self.results)) % self.length / self.length
        angle = (2 if self.inverse else -2) * np.pi * turns
        share = 1 / self.length if self.inverse else 1.0
        of_real = np.stack([np.cos(angle), np.sin(angle)], -1) * share
        of_imaginary = np.stack([-np.sin(angle), np.cos(angle)], -1) * share
        rows = np.stack([of_real, of_imaginary][:parts], 1)
        return rows.reshape(terms * parts, self.results * 2)


def dft(b: Builder) -> list[NodeProto] | None:
    """The transform along an axis; an operand that is longer than asked is cut, a shorter one is as if zeros followed."""
    shape, length = b.shape(b.input(0)), b.array(b.input(1))
    if shape is None or not _fits(b, shape) or (b.input(1) and length is None):
        return None
    given = b.array(b.input(2))
    if b.input(2) and given is None:
        return None
    axis = int(given.item()) if given is not None else b.integer("axis", 1 if b.graph.opset < 20 else -2)
    axis %= len(shape)
    size = shape[axis] if length is None else int(length.item())
    transform = Transform(size, bool(b.integer("inverse", 0)), bool(b.integer("onesided", 0)))
    if transform.onesided and (transform.inverse or shape[-1] == 2):
        raise b.refuse("one side is known of transforms of real numbers only")
    x, terms = b.input(0), min(size, shape[axis])
    if terms < shape[axis]:
        x = b.emit("Slice", x, b.whole(0), b.whole(terms), b.whole(axis))
    _transformed(b, transform, x, (*shape[:axis], terms, *shape[axis + 1 :]), axis)
    return b.nodes


def stft(b: Builder) -> list[NodeProto] | None:
    """Frames are gathered, weighted by the window, and transformed."""
    shape, step, window = b.shape(b.input(0)), b.array(b.input(1)), b.shape(b.input(2)) if b.input(2) else None
    stated = b.array(b.input(3))
    if shape is None or step is None or not _fits(b, shape) or (b.input(3) and stated is None):
        return None
    size = int(stated.item()) if stated is not None else window[0] if window else 0
    if not size or (window and window[0] != size) or size > shape[1]:
        raise b.refuse("a window as long as the frames, and no longer than the signal, is needed")
    if b.integer("onesided", 1) and shape[-1] == 2:
        raise b.refuse("one side is known of transforms of real numbers only")
    frames = 1 + (shape[1] - size) // int(step.item())
    places = np.arange(frames)[:, None] * int(step.item()) + np.arange(size)
    x = b.emit("Gather", b.input(0), b.constant("places", places.astype(np.int64)), attributes={"axis": 1})
    if window:
        x = b.emit("Mul", x, b.reshape(b.input(2), (size, 1)))
    transform = Transform(size, onesided=bool(b.integer("onesided", 1)))
    _transformed(b, transform, x, (shape[0], frames, size, shape[-1]), 2)
    return b.nodes


def _fits(b: Builder, shape: tuple[int, ...]) -> bool:
    """Numbers of float32 or float64, of which the last axis holds the one or two parts."""
    return b.element(b.input(0)) in (TensorProto.FLOAT, TensorProto.DOUBLE) and shape[-1] in (1, 2) and 0 not in shape


def _transformed(b: Builder, transform: Transform, x: str, shape: tuple[int, ...], axis: int) -> None:
    """The product along `axis` of `x`, of this shape; it becomes the node's result."""
    terms, parts = shape[axis], shape[-1]
    if 2 * math.prod((terms, parts, transform.results)) > MOST_ELEMENTS:
        raise b.refuse(f"a transform of {transform.length} numbers takes a matrix of too many elements")
    last = len(shape) - 1
    others = [each for each in range(last) if each != axis]
    x = b.emit("Transpose", x, attributes={"perm": [*others, axis, last]})
    rows = math.prod(shape[each] for each in others)
    dtype = helper.tensor_dtype_to_np_dtype(b.element(b.input(0)))
    matrix = b.constant("matrix", transform.matrix(terms, parts).astype(dtype))
    product = b.emit("MatMul", b.reshape(x, (rows, terms * parts)), matrix)
    split = b.reshape(product, (*(shape[each] for each in others), transform.results, 2))
    b.forget(b.node.output[0])  # ONNX's own inference takes one side of an STFT for both
    back = [others.index(each) if each != axis else last - 1 for each in range(last)]
    b.emit("Transpose", split, to=b.node.output[0], attributes={"perm": [*back, last]})
