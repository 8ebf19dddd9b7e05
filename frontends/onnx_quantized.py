"""Products, convolutions and the dynamic quantisation of quantised operators of ONNX, as arithmetic on whole numbers that
ends in the form of a quantisation (see `onnx_codes`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnx import NodeProto, TensorProto

from sparsec.frontends.onnx_builder import Builder
from sparsec.frontends.onnx_codes import BYTES, is_zero, quantised
from sparsec.frontends.onnx_windows import explicit_pads


def dynamic_quantize(b: Builder) -> list[NodeProto] | None:
    """The range of the operand, widened to hold zero, on the range of uint8."""
    shape = b.shape(b.input(0))
    if shape is None:
        return None
    x, zero, real = b.input(0), b.number(0, TensorProto.FLOAT), TensorProto.FLOAT
    least, greatest = _extremes(b, x, len(shape))
    least, greatest = b.emit("Min", least, zero), b.emit("Max", greatest, zero)
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
    least, most = (b.number(number, TensorProto.INT32) for number in BYTES[TensorProto.UINT8])
    b.cast(b.emit("Min", b.emit("Max", whole, least), most), TensorProto.UINT8, to=b.node.output[0])
    return b.nodes


def _extremes(b: Builder, x: str, rank: int) -> tuple[str, str]:
    """The least and the greatest element, of rows first, of both: neighbours read a row once."""
    axes = list(range(rank))
    rows = [b.reduce(name, x, axes[-1:]) if rank > 1 else x for name in ("ReduceMin", "ReduceMax")]
    ends = zip(("ReduceMin", "ReduceMax"), rows, strict=True)
    least, greatest = (b.reshape(b.reduce(name, value, axes) if axes else value, ()) for name, value in ends)
    return least, greatest


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
    if left is None or right is None or b.element(b.input(7)) not in BYTES:
        return None
    a = _centred(b, b.input(0), b.input(2), rows=True)
    c = _centred(b, b.input(3), b.input(5), rows=False)
    total = b.cast(b.emit("MatMul", a, c), TensorProto.FLOAT)
    scale_a, scale_b, scale_y = (b.cast(b.input(i), TensorProto.FLOAT) for i in (1, 4, 6))
    scale_a = b.emit("Unsqueeze", scale_a, b.whole(-1)) if _is_rows(b, b.input(1), left) else scale_a
    scaled = b.emit("Mul", total, b.emit("Div", b.emit("Mul", scale_a, scale_b), scale_y))
    _requantise(b, scaled)
    return b.nodes


def _is_rows(b: Builder, name: str, of: tuple[int, ...]) -> bool:
    shape = b.shape(name) or ()
    return len(shape) == 1 and shape[0] > 1 and shape[0] == of[-2]


def _centred(b: Builder, x: str, zero: str, *, rows: bool) -> str:
    plain = b.cast(x, TensorProto.INT32)
    if not zero or is_zero(b, zero):
        return plain
    wide = b.cast(zero, TensorProto.INT32)
    if rows and _is_rows(b, zero, b.shape(x) or ()):
        wide = b.emit("Unsqueeze", wide, b.whole(-1))
    return b.emit("Sub", plain, wide)


def qlinear_conv(b: Builder) -> list[NodeProto] | None:
    """A float32 convolution of the numbers without their zero points, which are whole; then one scaling. Upstream errs
    with scales of channels, and ends the process on `auto_pad`.
    """
    shape, weight = b.shape(b.input(0)), b.shape(b.input(3))
    if shape is None or weight is None or b.element(b.input(7)) not in BYTES:
        return None
    total = _whole_conv(b, (b.input(0), b.input(3), b.input(2), b.input(5)), weight, TensorProto.FLOAT)
    channels = (-1, *([1] * (len(shape) - 2)))
    scale = b.emit("Mul", b.reshape(b.input(1), ()), b.reshape(b.input(4), channels))
    if b.input(8):
        bias = b.reshape(b.cast(b.input(8), TensorProto.FLOAT), channels)
        total = b.emit("Add", total, bias)
    _requantise(b, b.emit("Mul", total, b.emit("Div", scale, b.reshape(b.input(6), ()))))
    return b.nodes


def _requantise(b: Builder, scaled: str) -> None:
    """The codes of the result, whose zero point is operand 7."""
    zero = b.input(7)
    quantised(b, scaled, "" if is_zero(b, zero) else b.cast(zero, TensorProto.FLOAT), b.element(zero))


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
    if not zero or is_zero(b, zero):
        return plain
    along = () if b.shape(zero) in ((), (1,)) else shape
    return b.emit("Sub", plain, b.reshape(b.cast(zero, real), along))
