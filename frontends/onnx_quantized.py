"""Quantised operators of ONNX in forms that upstream lowers right: integers made plain, one scaling at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping

from onnx import NodeProto, TensorProto

from sparsec.frontends.onnx_builder import Builder
from sparsec.frontends.onnx_windows import explicit_pads


def matmul_integer(b: Builder) -> list[NodeProto] | None:
    """An absent zero point is zero; upstream takes the operand for signed then."""
    absent = [i for i in (2, 3) if not b.input(i)]
    if not absent:
        return None
    names = [b.input(i) or b.number(0, b.element(b.input(i - 2))) for i in (2, 3)]
    b.node.input[:] = [b.input(0), b.input(1), *names]
    return [b.node]


def qlinear_matmul(b: Builder) -> list[NodeProto] | None:
    """Of rank 3 or more, or with scales of rows: int32 products, and one scaling at the end."""
    left, right = b.shape(b.input(0)), b.shape(b.input(3))
    element = b.element(b.input(7))
    single = all(b.shape(b.input(i)) in ((), (1,)) for i in (1, 2, 4, 5, 6, 7))
    if left is None or right is None or (single and max(len(left), len(right)) <= 2):
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
    wide = b.cast(zero, TensorProto.INT32)
    if rows and _is_rows(b, zero, b.shape(x) or ()):
        wide = b.emit("Unsqueeze", wide, b.whole(-1))
    return b.emit("Sub", b.cast(x, TensorProto.INT32), wide)


RANGES: Mapping[int, tuple[int, int]] = {
    TensorProto.UINT8: (0, 255),
    TensorProto.INT8: (-128, 127),
    TensorProto.INT16: (-32768, 32767),
}


def _quantised(b: Builder, scaled: str, zero: str, element: int) -> None:
    """Round to even, add the zero point, saturate."""
    low, high = RANGES[element]
    moved = b.emit("Add", b.emit("Round", scaled), b.cast(zero, TensorProto.FLOAT))
    bounded = b.emit("Clip", moved, b.number(low, TensorProto.FLOAT), b.number(high, TensorProto.FLOAT))
    b.cast(b.cast(bounded, TensorProto.INT32), element, to=b.node.output[0])


def quantize(b: Builder) -> list[NodeProto] | None:
    """Along an axis: arithmetic. Without a zero point it is that of uint8."""
    shape, scale = b.shape(b.input(0)), b.shape(b.input(1))
    if shape is None or scale is None or b.integer("block_size", 0) or b.element(b.input(0)) != TensorProto.FLOAT:
        return None
    element = b.element(b.input(2)) if b.input(2) else b.integer("output_dtype", 0) or TensorProto.UINT8
    if element not in RANGES or b.element(b.input(1)) != TensorProto.FLOAT:
        return None
    if scale in ((), (1,)):
        if b.input(2):
            return None
        b.node.input[:] = [*b.node.input[:2], b.number(0, element)]
        return [b.node]
    zero = b.input(2) or b.number(0, element)
    along = _along(b, shape)
    zero = b.reshape(zero, along) if b.input(2) else zero
    _quantised(b, b.emit("Div", b.input(0), b.reshape(b.input(1), along)), zero, element)
    return b.nodes


def dequantize(b: Builder) -> list[NodeProto] | None:
    """Along an axis, for numbers without sign (of which upstream takes the zero points for signed), or without a zero
    point: arithmetic.
    """
    shape, scale, element = b.shape(b.input(0)), b.shape(b.input(1)), b.element(b.input(0))
    if shape is None or scale is None or b.integer("block_size", 0) or b.element(b.input(1)) != TensorProto.FLOAT:
        return None
    single = scale in ((), (1,))
    if element not in (*RANGES, TensorProto.INT32) or (b.input(2) and (single or element == TensorProto.INT8)):
        # An axis counted from the end ends the process upstream.
        return b.without(axis=b.integer("axis", 1) % len(shape)) if shape and not single else None
    along = [] if single else _along(b, shape)
    wide = b.cast(b.input(0), TensorProto.INT32) if element != TensorProto.INT32 else b.input(0)
    if b.input(2):
        zero = b.cast(b.input(2), TensorProto.INT32) if element != TensorProto.INT32 else b.input(2)
        wide = b.emit("Sub", wide, b.reshape(zero, along))
    scales = b.reshape(b.input(1), along)
    b.emit("Mul", b.cast(wide, TensorProto.FLOAT), scales, to=b.node.output[0])
    return b.nodes


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
    total = _whole_conv(b, (b.input(0), b.input(3), b.input(2), b.input(5)), weight)
    channels = (-1, *([1] * (len(shape) - 2)))
    scale = b.emit("Mul", b.reshape(b.input(1), ()), b.reshape(b.input(4), channels))
    if b.input(8):
        bias = b.reshape(b.cast(b.input(8), TensorProto.FLOAT), channels)
        total = b.emit("Add", total, bias)
    _quantised(b, b.emit("Mul", total, b.emit("Div", scale, b.input(6))), b.input(7), b.element(b.input(7)))
    return b.nodes


EXACT = (1 << 24) // (255 * 255)
"""So many products of bytes have a sum that float32 holds exactly."""


def conv_integer(b: Builder) -> list[NodeProto] | None:
    """As float32 where that is exact; else only explicit pads."""
    shape, weight = b.shape(b.input(0)), b.shape(b.input(1))
    if shape is None or weight is None or math.prod(weight[1:]) > EXACT:
        return explicit_pads(b)
    total = _whole_conv(b, (b.input(0), b.input(1), b.input(2), b.input(3)), weight)
    b.cast(total, TensorProto.INT32, to=b.node.output[0])
    return b.nodes


def _whole_conv(b: Builder, operands: tuple[str, str, str, str], weight: tuple[int, ...]) -> str:
    """The convolution of two operands, each less its zero point ("" is none)."""
    explicit_pads(b, kernel=list(weight[2:]))
    x, w, zero_x, zero_w = operands
    x = _float_centred(b, x, zero_x, ())
    w = _float_centred(b, w, zero_w, (-1, *([1] * (len(weight) - 1))))
    kept = {name: b.ints(name, []) for name in ("pads", "strides", "dilations") if b.ints(name, [])}
    return b.emit("Conv", x, w, attributes={**kept, "group": b.integer("group", 1)})


def _float_centred(b: Builder, x: str, zero: str, shape: tuple[int, ...]) -> str:
    plain = b.cast(x, TensorProto.FLOAT)
    if not zero:
        return plain
    along = () if b.shape(zero) in ((), (1,)) else shape
    return b.emit("Sub", plain, b.reshape(b.cast(zero, TensorProto.FLOAT), along))
