"""QuantizeLinear and DequantizeLinear in the few forms that the compiler recognises (see `form_quantized`): a quantisation
is arithmetic that ends in a cast to 8 bit, a dequantisation arithmetic that begins with one from it, and only constants of
signed 8 bit keep their DequantizeLinear.

Codes of 4 and 16 bit have no type of their own later on. Computed ones are int32 numbers in the range of theirs, constant
ones of 4 bit signed bytes; all other constants become the numbers that they stand for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from sparsec.frontends.onnx_builder import Builder
from sparsec.frontends.onnx_graph import OnnxGraph

BYTES: Mapping[int, tuple[int, int]] = {TensorProto.UINT8: (0, 255), TensorProto.INT8: (-128, 127)}
NIBBLES: Mapping[int, tuple[int, int]] = {TensorProto.UINT4: (0, 15), TensorProto.INT4: (-8, 7)}
RANGES: Mapping[int, tuple[int, int]] = {
    **BYTES,
    **NIBBLES,
    TensorProto.UINT16: (0, 65535),
    TensorProto.INT16: (-32768, 32767),
}
"""The least and the greatest code of each type."""

REALS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def quantize(b: Builder) -> list[NodeProto] | None:
    """Divide, round to even, add the zero point, saturate. Without a zero point it is that of uint8."""
    shape, element = b.shape(b.input(0)), _element(b)
    numbers = (*REALS, TensorProto.INT32)
    if shape is None or element not in RANGES or b.element(b.input(0)) not in numbers:
        return None
    if element not in BYTES and _is_result(b.graph, b.node.output[0]):
        return _whole_operand(b) if element == TensorProto.INT16 else None
    scale, zero = (_beside(b, stem, b.input(index), shape) for index, stem in ((1, "scale"), (2, "zero")))
    if scale is None or zero is None:
        return None
    quantised(b, b.emit("Div", _real(b, b.input(0)), scale), zero, element)
    if element not in BYTES:
        _forget_types(b.graph, element)
    return b.nodes


def _element(b: Builder) -> int:
    """The type of the codes that a QuantizeLinear makes."""
    return b.element(b.input(2)) if b.input(2) else b.integer("output_dtype", 0) or TensorProto.UINT8


def _is_result(graph: OnnxGraph, name: str) -> bool:
    """Whether the codes `name`, perhaps moved since, are a result of the model."""
    reached = graph.reached_from(name, beyond=("DequantizeLinear", "Cast"))
    return any(output.name in reached for output in graph.graph.output)


def _whole_operand(b: Builder) -> list[NodeProto] | None:
    """The node itself, which upstream knows for one scale, but not what it makes of NaN: the least code."""
    if b.element(b.input(0)) != TensorProto.FLOAT or b.shape(b.input(1)) not in ((), (1,)):
        return None
    x, ordered = b.input(0), f"{b.node.name}/ordered"
    if x == ordered:  # it was here before
        return None
    b.node.input[0] = b.emit("Where", b.emit("IsNaN", x), b.number(-np.inf, TensorProto.FLOAT), x, to=ordered)
    if not b.input(2):
        b.node.input[:] = [*b.node.input[:2], b.number(0, TensorProto.INT16)]
    return [*b.nodes, b.node]


def _forget_types(graph: OnnxGraph, element: int) -> None:
    """Drop what the model states about values of `element`, which are int32 from now on."""
    graph.keep_types(lambda value: value.type.tensor_type.elem_type != element)


def dequantize(b: Builder) -> list[NodeProto] | None:
    """Subtract the zero point, multiply. Of constant bytes the node stays: passes read weights from it."""
    shape, element, of_scale = b.shape(b.input(0)), b.element(b.input(0)), b.element(b.input(1))
    if shape is None or of_scale not in REALS:
        return None
    target = b.integer("output_dtype", 0) or of_scale
    if all(not name or name in b.graph.constants for name in b.node.input):
        plain = target == TensorProto.FLOAT and not b.integer("block_size", 0)
        if plain and element in (*BYTES, *NIBBLES):
            return _signed_constant(b, len(shape))
        return _numbers(b, target)
    if element not in (*RANGES, TensorProto.INT32):  # upstream ends the process on some
        raise b.refuse("codes of this type are not supported")
    scale, zero = (_beside(b, stem, b.input(index), shape) for index, stem in ((1, "scale"), (2, "zero")))
    if scale is None or zero is None or (element == TensorProto.INT32 and zero):  # ONNX forbids the last
        return None
    whole = b.cast(b.input(0), TensorProto.FLOAT)
    whole = b.emit("Sub", whole, zero) if zero else whole
    number = b.emit("Mul", whole, scale, to=b.node.output[0] if target == TensorProto.FLOAT else None)
    if target != TensorProto.FLOAT:
        b.cast(number, target, to=b.node.output[0])
    return b.nodes


def _signed_constant(b: Builder, rank: int) -> list[NodeProto]:
    """DequantizeLinear of a constant of signed bytes with a zero point; unsigned ones move by 128, as does theirs."""
    zero, weight = b.array(b.input(2)), b.array(b.input(0))
    if zero is None:
        zero = np.zeros(b.shape(b.input(1)) or (), weight.dtype if weight is not None else np.int8)
    if weight is not None and weight.dtype != np.int8:
        b.node.input[0] = b.constant("signed", _signed(weight))
        zero = _signed(zero)
    b.node.input[:] = [b.node.input[0], b.node.input[1], b.constant("zero", zero)]
    return b.without(axis=b.integer("axis", 1) % max(rank, 1))


def _signed(codes: NDArray[np.generic]) -> NDArray[np.int8]:
    """Unsigned bytes less 128, and codes of 4 bit as they are."""
    moved = codes.astype(np.int16) - np.int16(128 if codes.dtype == np.uint8 else 0)
    return np.asarray(moved).astype(np.int8)


def _numbers(b: Builder, target: int) -> list[NodeProto] | None:
    """The numbers that a constant stands for, as a constant of type `target`; products are rounded to float32 first."""
    codes, scale = b.array(b.input(0)), b.array(b.input(1))
    if codes is None or scale is None:
        return None
    zero = b.array(b.input(2))
    whole = codes.astype(np.float32)  # codes of 16 bit and floats of 8 are exact in it, and so are differences
    if zero is not None:
        whole = whole - _spread(b, zero.astype(np.float32), codes.shape)
    numbers = np.asarray(whole * _spread(b, scale.astype(np.float32), codes.shape))
    b.graph.constants[b.node.output[0]] = numbers.astype(helper.tensor_dtype_to_np_dtype(target))
    return []


def _beside(b: Builder, stem: str, name: str, shape: tuple[int, ...]) -> str | None:
    """A scale or zero point (of `name`, which may be "") as float32 that broadcasts over `shape`.

    "" is a zero point of zero, None one that is computed for each of several blocks.
    """
    array, single = b.array(name), b.shape(name) in ((), (1,))
    if not name or (stem == "zero" and is_zero(b, name)):
        return ""
    if b.integer("block_size", 0) and not single:
        if array is None:
            return None
        return b.constant(stem, _spread(b, array.astype(np.float32), shape))
    real = b.constant(f"{stem}/real", array.astype(np.float32)) if array is not None else _real(b, name)
    return b.reshape(real, [] if single else along_axis(b, shape))


def _spread(b: Builder, values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """One number for all, for each place of an axis, or for each block along it, such that it broadcasts over `shape`."""
    block, axis = b.integer("block_size", 0), b.integer("axis", 1) % max(len(shape), 1)
    if block and values.ndim == len(shape):
        return np.repeat(values, block, axis)[tuple(slice(size) for size in shape)]
    return values.reshape(() if values.size == 1 else along_axis(b, shape))


def along_axis(b: Builder, shape: Sequence[int]) -> list[int]:
    """The shape in which a vector lies along the axis of the node."""
    axis = b.integer("axis", 1) % len(shape)
    return [shape[axis] if number == axis else 1 for number in range(len(shape))]


def _real(b: Builder, name: str) -> str:
    return name if b.element(name) == TensorProto.FLOAT else b.cast(name, TensorProto.FLOAT)


def quantised(b: Builder, scaled: str, zero: str, element: int) -> None:
    """Round to even, add the zero point (float32; "" is none), saturate: the codes are the result of the node."""
    low, high = RANGES[element]
    moved = b.emit("Round", scaled)
    moved = b.emit("Add", moved, zero) if zero else moved
    bounded = b.emit("Clip", moved, b.number(low, TensorProto.FLOAT), b.number(high, TensorProto.FLOAT))
    whole = b.cast(bounded, TensorProto.INT32, to=None if element in BYTES else b.node.output[0])
    if element in BYTES:
        b.cast(whole, element, to=b.node.output[0])


def is_zero(b: Builder, zero: str) -> bool:
    """Whether a zero point is known to be zero."""
    array = b.array(zero)
    return array is not None and not array.astype(np.float32).any()
