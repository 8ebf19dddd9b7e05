"""Normalisations of ONNX as float32 arithmetic: two passes, constants folded, no division by zero."""

from __future__ import annotations

import math

import numpy as np
from onnx import NodeProto, TensorProto, helper

from sparsec.frontends.onnx_builder import Builder


def layer_normalization(b: Builder) -> list[NodeProto] | None:
    """Two passes in float32; the upstream decomposition computes the variance in float64."""
    shape = b.shape(b.input(0))
    element = b.element(b.input(0))
    if shape is None or element != TensorProto.FLOAT:
        return None
    first = b.integer("axis", -1) % len(shape)
    x = b.input(0)
    return _normalise(b, x, list(range(first, len(shape))))


def _normalise(b: Builder, x: str, axes: list[int]) -> list[NodeProto]:
    outputs = [*b.node.output, "", ""]
    epsilon = b.constant("epsilon", np.array(b.attribute("epsilon", 1e-5), np.float32))
    mean = b.reduce("ReduceMean", x, axes)
    centred = b.emit("Sub", x, mean)
    variance = b.reduce("ReduceMean", b.emit("Mul", centred, centred), axes)
    deviation = b.emit("Sqrt", b.emit("Add", variance, epsilon))
    inverse = b.emit("Div", b.constant("one", np.array(1, np.float32)), deviation)
    normal = b.emit("Mul", centred, inverse)
    bias = b.input(2)
    scaled = b.emit("Mul", normal, b.input(1), to=None if bias else outputs[0])
    if bias:
        b.emit("Add", scaled, bias, to=outputs[0])
    if outputs[1]:
        b.emit("Identity", mean, to=outputs[1])
    if outputs[2]:
        b.emit("Identity", inverse, to=outputs[2])
    return b.nodes


def instance_normalization(b: Builder) -> list[NodeProto] | None:
    """As layer normalisation, over the spatial axes, with one scale and bias per channel."""
    shape = b.shape(b.input(0))
    if shape is None or len(shape) < 3 or b.element(b.input(0)) != TensorProto.FLOAT:
        return None
    per_channel = b.constant("per_channel", np.array([shape[1], *([1] * (len(shape) - 2))], np.int64))
    scale, bias = (b.emit("Reshape", b.input(i), per_channel) for i in (1, 2))
    del b.node.input[1:]
    b.node.input.extend([scale, bias])
    return _normalise(b, b.input(0), list(range(2, len(shape))))


def batch_normalization(b: Builder) -> list[NodeProto] | None:
    """Inference: `x * a + c` per channel; `a` and `c` fold to constants, as a rule."""
    shape = b.shape(b.input(0))
    if shape is None or len(shape) < 2 or b.attribute("training_mode", 0) or any(b.node.output[1:]):
        return None
    element = b.element(b.input(0))
    dtype = helper.tensor_dtype_to_np_dtype(element)
    epsilon = b.constant("epsilon", np.array(b.attribute("epsilon", 1e-5), dtype))
    per_channel = b.constant("per_channel", np.array([shape[1], *([1] * (len(shape) - 2))], np.int64))
    scale, bias, mean, variance = (
        b.input(i)
        if b.element(b.input(i)) == element
        else b.emit("Cast", b.input(i), to=None, attributes={"to": element})
        for i in range(1, 5)
    )
    a = b.emit("Div", scale, b.emit("Sqrt", b.emit("Add", variance, epsilon)))
    c = b.emit("Sub", bias, b.emit("Mul", mean, a))
    product = b.emit("Mul", b.input(0), b.emit("Reshape", a, per_channel))
    b.emit("Add", product, b.emit("Reshape", c, per_channel), to=b.node.output[0])
    return b.nodes


def group_normalization(b: Builder) -> list[NodeProto] | None:
    """As layer normalisation, over the channels of a group; scale and bias are per channel, or per group before 21."""
    shape, groups = b.shape(b.input(0)), b.integer("num_groups", 1)
    if shape is None or len(shape) < 3 or b.element(b.input(0)) != TensorProto.FLOAT or shape[1] % groups:
        return None
    folded = (shape[0], groups, math.prod(shape[1:]) // groups)
    x = b.reshape(b.input(0), folded)
    centred = b.emit("Sub", x, b.reduce("ReduceMean", x, [2]))
    variance = b.reduce("ReduceMean", b.emit("Mul", centred, centred), [2])
    epsilon = b.number(b.real("epsilon", 1e-5), TensorProto.FLOAT)
    normal = b.emit("Div", centred, b.emit("Sqrt", b.emit("Add", variance, epsilon)))
    scale, bias = b.input(1), b.input(2)
    if b.shape(scale) == (groups,) and groups != shape[1]:
        many = b.whole(groups, shape[1] // groups)
        scale, bias = (b.reshape(b.emit("Expand", b.reshape(v, (groups, 1)), many), (-1,)) for v in (scale, bias))
    per_channel = (shape[1], *([1] * (len(shape) - 2)))
    scaled = b.emit("Mul", b.reshape(normal, shape), b.reshape(scale, per_channel))
    b.emit("Add", scaled, b.reshape(bias, per_channel), to=b.node.output[0])
    return b.nodes


def rms_normalization(b: Builder) -> list[NodeProto] | None:
    """x / sqrt(mean of x x + epsilon), times a scale."""
    shape = b.shape(b.input(0))
    if shape is None or b.element(b.input(0)) != TensorProto.FLOAT or b.element(b.input(1)) != TensorProto.FLOAT:
        return None
    x = b.input(0)
    square = b.reduce("ReduceMean", b.emit("Mul", x, x), list(range(b.integer("axis", -1) % len(shape), len(shape))))
    root = b.emit("Sqrt", b.emit("Add", square, b.number(b.real("epsilon", 1e-5), TensorProto.FLOAT)))
    b.emit("Mul", b.emit("Div", x, root), b.input(1), to=b.node.output[0])
    return b.nodes


def lp_normalization(b: Builder) -> list[NodeProto] | None:
    """The quotient by a norm along one axis, where a norm of zero divides nothing. That of one element is its size; upstream
    ends the process on it.
    """
    element, shape, axis = b.element(b.input(0)), b.shape(b.input(0)), b.integer("axis", -1)
    op = {1: "ReduceL1", 2: "ReduceL2"}.get(b.integer("p", 2))
    if op is None or shape is None or element not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return None
    norm = b.emit("Abs", b.input(0)) if shape[axis] == 1 else b.reduce(op, b.input(0), [axis])
    empty = b.emit("Equal", norm, b.number(0, element))
    b.emit("Div", b.input(0), b.emit("Where", empty, b.number(1, element), norm), to=b.node.output[0])
    return b.nodes


def local_response_normalization(b: Builder) -> list[NodeProto] | None:
    """An even size, whose window upstream centres otherwise: an average along the padded channels."""
    shape, size = b.shape(b.input(0)), b.integer("size", 1)
    if size % 2 or shape is None or len(shape) < 3 or 0 in shape or b.element(b.input(0)) != TensorProto.FLOAT:
        return None
    squares = b.reshape(b.emit("Mul", b.input(0), b.input(0)), (shape[0], 1, shape[1], -1))
    padded = b.emit("Pad", squares, b.whole(0, 0, (size - 1) // 2, 0, 0, 0, size // 2, 0))
    average = b.emit("AveragePool", padded, attributes={"kernel_shape": [size, 1]})
    alpha, beta, bias = (b.number(b.real(*known), TensorProto.FLOAT) for known in LRN)
    base = b.emit("Add", bias, b.emit("Mul", alpha, b.reshape(average, shape)))
    b.emit("Div", b.input(0), b.emit("Pow", base, beta), to=b.node.output[0])
    return b.nodes


LRN = (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
