"""Quantised operators of ONNX as the few forms that the compiler recognises (see `form_quantized`): a quantisation is
arithmetic that ends in a cast to 8 bit, a dequantisation arithmetic that begins with one from it, and only constants of
signed 8 bit keep their DequantizeLinear.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from sparsec.frontends.onnx_builder import Builder
from sparsec.frontends.onnx_windows import explicit_pads

RANGES: Mapping[int, tuple[int, int]] = {
    TensorProto.UINT8: (0, 255),
    TensorProto.INT8: (-128, 127),
    TensorProto.INT16: (-32768, 32767),
}


def quantize(b: Builder) -> list[NodeProto] | None:
    """Divide, round to even, add the zero point, saturate. Without a zero point it is that of uint8."""
    shape, scale = b.shape(b.input(0)), b.shape(b.input(1))
    if shape is None or scale is None or b.integer("block_size", 0) or b.element(b.input(0)) != TensorProto.FLOAT:
        return None
    element = b.element(b.input(2)) if b.input(2) else b.integer("output_dtype", 0) or TensorProto.UINT8
    if element not in RANGES or b.element(b.input(1)) != TensorProto.FLOAT:
        return None
    if element == TensorProto.INT16 and scale in ((), (1,)):
        if b.input(2):
            return None  # upstream knows this one, but no cast to 16 bit
        b.node.input[:] = [*b.node.input[:2], b.number(0, element)]
        return [b.node]
    along = [] if scale in ((), (1,)) else _along(b, shape)
    scaled = b.emit("Div", b.input(0), b.reshape(b.input(1), along))
    _quantised(b, scaled, b.input(2), element, along)
    return b.nodes


def dequantize(b: Builder) -> list[NodeProto] | None:
    """Subtract the zero point, multiply. Of constant bytes the node stays: passes read weights from it."""
    shape, scale, element = b.shape(b.input(0)), b.shape(b.input(1)), b.element(b.input(0))
    if shape is None or scale is None or b.integer("block_size", 0) or b.element(b.input(1)) != TensorProto.FLOAT:
        return None
    single = scale in ((), (1,))
    if element in BYTES and b.input(0) in b.graph.constants and b.input(1) in b.graph.constants:
        return _signed_constant(b, len(shape))
    if element not in (*RANGES, TensorProto.INT32):
        # An axis counted from the end ends the process upstream.
        return b.without(axis=b.integer("axis", 1) % len(shape)) if shape and not single else None
    along = [] if single else _along(b, shape)
    scales = b.reshape(b.input(1), along)
    if element == TensorProto.INT32:
        zero = b.reshape(b.input(2), along) if b.input(2) else ""
        whole = b.cast(b.emit("Sub", b.input(0), zero) if zero else b.input(0), TensorProto.FLOAT)
    else:
        whole = _float_centred(b, b.input(0), b.input(2), along)
    b.emit("Mul", whole, scales, to=b.node.output[0])
    return b.nodes


BYTES = (TensorProto.UINT8, TensorProto.INT8)


def _signed_constant(b: Builder, rank: int) -> list[NodeProto] | None:
    """DequantizeLinear of a constant of signed bytes with a zero point; unsigned ones move by 128, as does theirs."""
    zero, weight = b.array(b.input(2)), b.array(b.input(0))
    if b.input(2) and zero is None:
        return None
    if zero is None:
        zero = np.zeros(b.shape(b.input(1)) or (), weight.dtype if weight is not None else np.int8)
    if weight is not None and weight.dtype == np.uint8:
        b.node.input[0] = b.constant("signed", _signed(weight))
        zero = _signed(zero)
    b.node.input[:] = [b.node.input[0], b.node.input[1], b.constant("zero", zero)]
    return b.without(axis=b.integer("axis", 1) % max(rank, 1))


def _signed(codes: NDArray[np.generic]) -> NDArray[np.int8]:
    """Unsigned bytes less 128."""
    return np.asarray(codes.astype(np.int16) - np.int16(128)).astype(np.int8)


def dynamic_quantize(b: Builder) -> list[NodeProto] | None:
    """The range of the operand, widened to hold zero, on the range of uint8."""
    shape = b.shape(b.input(0))
    if shape is None:
        return None
    x, zero, real = b.input(0), b.number(0, TensorProto.FLOAT), TensorProto.FLOAT
    axes = list(range(len(shape)))
    # Rows first, of both: neighbours read a row once.
    rows = [b.reduce(name, x, axes[-1:]) for name in ("ReduceMin", "ReduceMax")] if len(shape) > 1 else [x, x]
    least = b.emit("Min", b.reshape(b.reduce("ReduceMin", rows[0], axes), ()), zero)
    greatest = b.emit("Max", b.reshape(b.reduce("ReduceMax", rows[1], axes), ()), zero)
    width = b.emit("Sub", greatest, least)
    whole = b.emit("Div", width, b.number(255, real))
    # Of zeros alone the scale is one, as in ONNX Runtime.
    scale = b.emit("Where", b.emit("Equal", width, zero), b.number(1, real), whole, to=b.node.output[1])
    middle = b.emit("Round", b.emit("Sub", zero, b.emit("Div", least, scale)))
    bounded = b.emit("Clip", middle, zero, b.number(255, real))
    point = b.cast(bounded, TensorProto.INT32)
    b.cast(point, TensorProto.UINT8, to=b.node.output[2])
    # No quotient is larger than 256, so that codes are whole numbers before anything else happens to them.
    whole = b.emit("Add", b.cast(b.emit("Round", b.emit("Div", x, scale)), TensorProto.INT32), point)
    least, most = (b.number(number, TensorProto.INT32) for number in RANGES[TensorProto.UINT8])
    b.cast(b.emit("Min", b.emit("Max", whole, least), most), TensorProto.UINT8, to=b.node.output[0])
    return b.nodes


def matmul_integer(b: Builder) -> list[NodeProto] | None:
    """Products of int32 numbers."""
    left, right = b.shape(b.input(0)), b.shape(b.input(1))
    if left is None or right is None:
        return None
    a = _centred(b, b.input(0), b.input(2), rows=True)
    c = _centred(b, b.input(1), b.input(3), rows=False)
    b.emit("MatMul", a, c, to=b.node.output[0])
    return b.nodes


def qlinear_matmul(b: Builder) -> list[NodeProto] | None:
    """Products of int32 numbers, and one scaling at the end."""
    left, right = b.shape(b.input(0)), b.shape(b.input(3))
    element = b.element(b.input(7))
    if left is None or right is None or element not in RANGES:
        return None
    a = _centred(b, b.input(0), b.input(2), rows=True)
    c = _centred(b, b.input(3), b.input(5), rows=False)
    total = b.cast(b.emit("MatMul", a, c), TensorProto.FLOAT)
    scale_a, scale_b, scale_y = (b.cast(b.input(i), TensorProto.FLOAT) for i in (1, 4, 6))
    scale_a = b.emit("Unsqueeze", scale_a, b.whole(-1)) if _is_rows(b, b.input(1), left) else scale_a
    scaled = b.emit("Mul", total, b.emit("Div", b.emit("Mul", scale_a, scale_b), scale_y))
    _quantised(b, scaled, b.input(7), element)
    return b.nodes


def _is_rows(b: Builder, name: str, of: tuple[int, ...]) -> bool:
    shape = b.shape(name) or ()
    return len(shape) == 1 and shape[0] > 1 and shape[0] == of[-2]


def _centred(b: Builder, x: str, zero: str, *, rows: bool) -> str:
    plain = b.cast(x, TensorProto.INT32)
    if not zero or _is_zero(b, zero):
        return plain
    wide = b.cast(zero, TensorProto.INT32)
    if rows and _is_rows(b, zero, b.shape(x) or ()):
        wide = b.emit("Unsqueeze", wide, b.whole(-1))
    return b.emit("Sub", plain, wide)


def _is_zero(b: Builder, zero: str) -> bool:
    array = b.array(zero)
    return array is not None and not array.any()


def _quantised(b: Builder, scaled: str, zero: str, element: int, along: Sequence[int] | None = None) -> None:
    """Round to even, add the zero point (as `along`), saturate."""
    low, high = RANGES[element]
    moved = b.emit("Round", scaled)
    if zero and not _is_zero(b, zero):
        point = b.cast(zero, TensorProto.FLOAT)
        moved = b.emit("Add", moved, point if along is None else b.reshape(point, along))
    bounded = b.emit("Clip", moved, b.number(low, TensorProto.FLOAT), b.number(high, TensorProto.FLOAT))
    b.cast(b.cast(bounded, TensorProto.INT32), element, to=b.node.output[0])


def _along(b: Builder, shape: tuple[int, ...]) -> list[int]:
    """The shape in which a vector lies along the axis of the node."""
    axis = b.integer("axis", 1) % len(shape)
    return [shape[axis] if number == axis else 1 for number in range(len(shape))]


def qlinear_conv(b: Builder) -> list[NodeProto] | None:
    """A float32 convolution of the numbers without their zero points, which are whole; then one scaling. Upstream errs
    with scales of channels, and ends the process on `auto_pad`.
    """
    shape, weight = b.shape(b.input(0)), b.shape(b.input(3))
    if shape is None or weight is None or b.element(b.input(7)) not in RANGES:
        return None
    total = _whole_conv(b, (b.input(0), b.input(3), b.input(2), b.input(5)), weight, TensorProto.FLOAT)
    channels = (-1, *([1] * (len(shape) - 2)))
    scale = b.emit("Mul", b.reshape(b.input(1), ()), b.reshape(b.input(4), channels))
    if b.input(8):
        bias = b.reshape(b.cast(b.input(8), TensorProto.FLOAT), channels)
        total = b.emit("Add", total, bias)
    _quantised(
        b, b.emit("Mul", total, b.emit("Div", scale, b.reshape(b.input(6), ()))), b.input(7), b.element(b.input(7))
    )
    return b.nodes


EXACT = (1 << 24) // (255 * 255)
"""So many products of bytes have a sum that float32 holds exactly."""


def conv_integer(b: Builder) -> list[NodeProto] | None:
    """As float32 where that is exact, else as float64."""
    shape, weight = b.shape(b.input(0)), b.shape(b.input(1))
    if shape is None or weight is None:
        return explicit_pads(b)
    real = TensorProto.FLOAT if math.prod(weight[1:]) <= EXACT else TensorProto.DOUBLE
    total = _whole_conv(b, (b.input(0), b.input(1), b.input(2), b.input(3)), weight, real)
    b.cast(total, TensorProto.INT32, to=b.node.output[0])
    return b.nodes


def _whole_conv(b: Builder, operands: tuple[str, str, str, str], weight: tuple[int, ...], real: int) -> str:
    """The convolution of two operands, each less its zero point ("" is none)."""
    explicit_pads(b, kernel=list(weight[2:]))
    x, w, zero_x, zero_w = operands
    x = _float_centred(b, x, zero_x, (), real)
    w = _float_centred(b, w, zero_w, (-1, *([1] * (len(weight) - 1))), real)
    kept = {name: b.ints(name, []) for name in ("pads", "strides", "dilations") if b.ints(name, [])}
    return b.emit("Conv", x, w, attributes={**kept, "group": b.integer("group", 1)})


def _float_centred(b: Builder, x: str, zero: str, shape: Sequence[int], real: int = TensorProto.FLOAT) -> str:
    plain = b.cast(x, real)
    if not zero or _is_zero(b, zero):
        return plain
    along = () if b.shape(zero) in ((), (1,)) else shape
    return b.emit("Sub", plain, b.reshape(b.cast(zero, real), along))
