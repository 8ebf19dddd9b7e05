"""Element-wise operators of ONNX where upstream has none, a slow one, or one that errs at the edges."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from onnx import NodeProto, TensorProto, helper

from sparsec.frontends.onnx_builder import Builder


def cast_like(b: Builder) -> list[NodeProto] | None:
    """The target is the type of the second operand."""
    element = b.element(b.input(1))
    if not element:
        return None
    return [helper.make_node("Cast", [b.input(0)], list(b.node.output), name=b.node.name, to=element)]


def dropout(b: Builder) -> list[NodeProto] | None:
    """Inference: the data pass through, and the mask is all true."""
    training = b.graph.constants.get(b.input(2)) if b.input(2) else None
    if b.input(2) and (training is None or bool(np.asarray(training).any())):
        return None
    shape = b.shape(b.input(0))
    if len(b.node.output) > 1 and b.node.output[1]:
        if shape is None:
            return None
        b.graph.constants[b.node.output[1]] = np.ones(shape, np.bool_)
    b.emit("Identity", b.input(0), to=b.node.output[0])
    return b.nodes


def power(b: Builder) -> list[NodeProto] | None:
    """Squares, cubes and square roots are no calls of `pow`; powers of integers go through float64."""
    element, exponent = b.element(b.input(0)), b.array(b.input(1))
    if element in INTEGERS:
        result = b.emit("Pow", *(b.cast(b.input(i), TensorProto.DOUBLE) for i in (0, 1)))
        b.cast(result, element, to=b.node.output[0])
        return b.nodes
    if exponent is None or exponent.size != 1 or len(exponent.shape) > len(b.shape(b.input(0)) or ()):
        return None
    if element not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
        return None
    x, result = b.input(0), b.node.output[0]
    match float(exponent.reshape(-1)[0]):
        case 1.0:
            b.emit("Identity", x, to=result)
        case 2.0:
            b.emit("Mul", x, x, to=result)
        case 3.0:
            b.emit("Mul", b.emit("Mul", x, x), x, to=result)
        case 0.5:
            b.emit("Sqrt", x, to=result)
        case _:
            return None
    return b.nodes


def reciprocal(b: Builder) -> list[NodeProto] | None:
    """A division: the torch operator's lowering ends the process when an element is zero."""
    dtype = helper.tensor_dtype_to_np_dtype(b.element(b.input(0)) or TensorProto.FLOAT)
    b.emit("Div", b.constant("one", np.array(1, dtype)), b.input(0), to=b.node.output[0])
    return b.nodes


UNSIGNED: Mapping[int, int] = {TensorProto.UINT8: TensorProto.INT32, TensorProto.UINT32: TensorProto.INT64}
"""Unsigned types, and the signed ones that hold all their values: upstream takes most of their bits for signed."""

INTEGERS = (TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, *UNSIGNED)
WIDTHS: Mapping[int, int] = {
    TensorProto.INT8: 8,
    TensorProto.UINT8: 8,
    TensorProto.INT16: 16,
    TensorProto.INT32: 32,
    TensorProto.UINT32: 32,
    TensorProto.INT64: 64,
}


def widen(b: Builder) -> list[NodeProto] | None:
    """Unsigned operands become signed ones of more bits, and the result is cast back."""
    element = b.element(b.input(0))
    if element not in UNSIGNED or b.element(b.node.output[0]) != element:
        return None
    b.node.input[:] = [name and b.cast(name, UNSIGNED[element]) for name in b.node.input]
    result, b.node.output[0] = b.node.output[0], f"{b.node.name}/wide"
    narrow = helper.make_node("Cast", [f"{b.node.name}/wide"], [result], name=f"{b.node.name}/narrow", to=element)
    return [*b.nodes, b.node, narrow]


def clip(b: Builder) -> list[NodeProto] | None:
    """Two comparisons with which what is no number stays so, at the same price; unsigned numbers are widened."""
    element = b.element(b.input(0))
    if element not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return widen(b)
    if not b.input(1) and not b.input(2):
        return None
    x = b.input(0)
    for bound, beyond in ((b.input(1), "Less"), (b.input(2), "Greater")):
        x = b.emit("Where", b.emit(beyond, x, bound), bound, x) if bound else x
    b.emit("Identity", x, to=b.node.output[0])
    return b.nodes


def absolute(b: Builder) -> list[NodeProto] | None:
    """Unsigned numbers are what they are."""
    if b.element(b.input(0)) not in UNSIGNED:
        return None
    b.emit("Identity", b.input(0), to=b.node.output[0])
    return b.nodes


def sign(b: Builder) -> list[NodeProto] | None:
    """That of what is no number is no number."""
    if b.element(b.input(0)) not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return None
    plain = b.emit("Sign", b.input(0))
    b.emit("Where", b.emit("IsNaN", b.input(0)), b.input(0), plain, to=b.node.output[0])
    return b.nodes


def extremum(b: Builder) -> list[NodeProto] | None:
    """Two floats of which one is no number: upstream gives the second one, and the specification what is no number."""
    element = b.element(b.input(0))
    if element not in (TensorProto.FLOAT, TensorProto.DOUBLE) or len(b.node.input) < 2:
        return None
    if any(b.array(name) is not None for name in b.node.input):
        return None  # a bound: the activation of a layer, as a rule, of which nobody asks this
    total = b.input(0)
    less = "Greater" if b.node.op_type == "Max" else "Less"
    for name in b.node.input[1:]:
        kept = b.emit("Or", b.emit(less, total, name), b.emit("IsNaN", total))
        total = b.emit("Where", kept, total, name)
    b.emit("Identity", total, to=b.node.output[0])
    return b.nodes


def shift(b: Builder) -> list[NodeProto] | None:
    """By the width of the type or more (or less than nothing): all bits are gone, and only a sign is left."""
    element, amounts = b.element(b.input(0)), b.array(b.input(1))
    width = WIDTHS.get(element)
    if width is None:
        return None
    right = b.word("direction", "LEFT") == "RIGHT"
    if amounts is not None and not (right and element in UNSIGNED):
        known = amounts.astype(np.int64)
        if ((known >= 0) & (known < width)).all():
            return None
    wide = TensorProto.INT32 if element == TensorProto.UINT8 else element
    x, by = (b.cast(b.input(i), wide) if wide != element else b.input(i) for i in (0, 1))
    inside = b.emit("And", b.emit("Less", by, b.number(width, wide)), b.emit("GreaterOrEqual", by, b.number(0, wide)))
    bounded = b.emit("Where", inside, by, b.number(0, wide))
    shifted = b.emit("BitShift", x, bounded, attributes={"direction": "RIGHT" if right else "LEFT"})
    gone = zero = b.number(0, wide)
    if right and element not in UNSIGNED:
        gone = b.emit("Where", b.emit("Less", x, zero), b.number(-1, wide), zero)
    result = b.emit("Where", inside, shifted, gone)
    b.cast(result, element, to=b.node.output[0]) if wide != element else b.emit("Identity", result, to=b.node.output[0])
    return b.nodes


def softsign(b: Builder) -> list[NodeProto] | None:
    """x / (1 + |x|)"""
    x = b.input(0)
    below = b.emit("Add", b.number(1, b.element(x)), b.emit("Abs", x))
    b.emit("Div", x, below, to=b.node.output[0])
    return b.nodes


def gelu(b: Builder) -> list[NodeProto] | None:
    """The approximation with `tanh`, where upstream has 0.797724 for the root of 2 / pi."""
    element, x = b.element(b.input(0)), b.input(0)
    if b.word("approximate", "none") != "tanh":
        return None
    cube = b.emit("Mul", b.emit("Mul", x, x), x)
    inner = b.emit("Add", x, b.emit("Mul", cube, b.number(0.044715, element)))
    bent = b.emit("Tanh", b.emit("Mul", inner, b.number(math.sqrt(2 / math.pi), element)))
    half = b.emit("Mul", x, b.number(0.5, element))
    b.emit("Mul", half, b.emit("Add", bent, b.number(1, element)), to=b.node.output[0])
    return b.nodes
