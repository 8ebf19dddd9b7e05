"""Reading quantised values off the torch dialect: activations, weights, and quantisations, in the forms that frontends leave.

An activation is `scale * (codes - zero)` of codes of 8 bit: a cast to a number, a subtraction, a product, with ops that only
move elements in between. A quantisation is `round(x / scale) + zero`, clamped, and cast to 8 bit. A weight is a dequantised
constant of signed bytes, or a constant whose numbers are whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.coo import Coo, as_dense
from sparsec.ir.module import users
from sparsec.ir.torch_values import TorchBuilder, definition, scalar, tensor_element, tensor_shape, tensor_type
from sparsec.passes.fold_constants import MOVES, constant
from sparsec.passes.unit import Unit

CODES = ("ui8", "si8")
CAST = "torch.aten.to.dtype"
PAD = "torch.aten.constant_pad_nd"
_MUL, _SUB, _ADD, _DIV = (f"torch.aten.{name}" for name in ("mul", "sub", "add", "div"))
_PER_TENSOR = "torch.quantized_decomposed.dequantize_per_tensor"
_PER_CHANNEL = "torch.quantized_decomposed.dequantize_per_channel"
DEQUANTISE = ("torch.aten.dequantize.self", _PER_TENSOR, _PER_CHANNEL)
Codes = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Activation:
    """`scale * (moves(codes) - zero)`: numbers that are constant, or torch values of one element; None are 1 and 0.

    A pad with zeros is a move, too: of codes, with the zero point.
    """

    codes: ir.Value
    moves: tuple[ir.Operation, ...] = ()  # the first is applied first
    zero: float | ir.Value | None = None
    scale: float | ir.Value | None = None

    def moved(self, at: ir.Operation) -> ir.Value:
        """The codes, moved, before `at`."""
        value, build = self.codes, TorchBuilder(at)
        element = tensor_element(value)
        assert element is not None
        for move in self.moves:
            shape = tensor_shape(move.results[0])
            assert shape is not None
            type_ = tensor_type(shape, element, at.context)
            operands = list(move.operands)[1:]
            if move.name == PAD:  # with what stands for zero
                operands[1] = build.integer(round(self.zero) if isinstance(self.zero, float) else 0)
            value = build.create(move.name, [type_], [value, *operands])
        return value


def activation_of(value: ir.Value, unit: Unit) -> Activation | None:
    """What `value` is of 8-bit codes; None if it is something else."""
    op = definition(value)
    if op is None:
        return None
    if op.name == CAST:
        source = op.operands[0]
        if tensor_element(source) in CODES:
            return Activation(source)
        inner = activation_of(source, unit)
        return inner if inner is not None and inner.scale is None and tensor_element(value) != "i1" else None
    if op.name == _PER_TENSOR and tensor_element(op.operands[0]) in CODES:
        scale, zero = scalar(op.operands[1]), scalar(op.operands[2])
        known = scale is not None and zero is not None
        return Activation(op.operands[0], zero=float(zero or 0), scale=float(np.float32(scale or 1))) if known else None
    if op.name in MOVES or (op.name == PAD and scalar(op.operands[2]) == 0):
        inner = activation_of(op.operands[0], unit)
        if inner is None or (op.name == PAD and isinstance(inner.zero, ir.Value)):
            return None
        return replace(inner, moves=(*inner.moves, op))
    if op.name.startswith(_MUL):
        return _scaled(op, unit)
    if op.name.startswith(_SUB) and scalar(op.operands[2]) == 1:
        inner, zero = activation_of(op.operands[0], unit), one_number(op.operands[1], unit)
        if inner is None or zero is None or inner.zero is not None or inner.scale is not None:
            return None
        if any(move.name == PAD for move in inner.moves):
            return None  # its zeros are codes
        return replace(inner, zero=zero)
    return None


def _scaled(op: ir.Operation, unit: Unit) -> Activation | None:
    for one, other in ((0, 1), (1, 0)):
        scale = one_number(op.operands[other], unit)
        inner = activation_of(op.operands[one], unit) if scale is not None else None
        if inner is not None and inner.scale is None:
            return replace(inner, scale=scale)
    return None


def one_number(value: ir.Value, unit: Unit) -> float | ir.Value | None:
    """A constant as a number; a computed tensor of one element as it is; None for others."""
    data = constant(value, unit)
    if data is not None:
        return float(np.asarray(data).reshape(-1)[0]) if isinstance(data, np.ndarray) and data.size == 1 else None
    shape = tensor_shape(value)
    return value if shape is not None and all(size == 1 for size in shape) else None


@dataclass(frozen=True, slots=True)
class QuantisedWeight:
    """`scale * (codes + shift)`: codes of signed 8 bit [outputs, ...], `scale` and `shift` [outputs] or of one element.

    Where `shift` is zero, so are the zeros of the weight.
    """

    codes: NDArray[np.int8]
    scale: Floats | None
    shift: Codes
    sparse: bool  # stored so

    @property
    def sums(self) -> NDArray[np.int64]:
        """The sum of the codes of each output."""
        return np.asarray(self.codes.reshape(len(self.codes), -1).sum(axis=1, dtype=np.int64))

    @property
    def largest_sum(self) -> int:
        """The greatest magnitude of a sum of products with unsigned bytes, also of a part of its terms."""
        magnitudes = np.abs(self.codes.astype(np.int16)).reshape(len(self.codes), -1).sum(axis=1, dtype=np.int64)
        return int(magnitudes.max(initial=0)) * 255


def weight_codes(value: ir.Value, unit: Unit, *, transposed: bool) -> QuantisedWeight | None:
    """The quantised constant behind `value` with outputs first (`transposed`: [inputs, outputs]); None if it is none."""
    moves: list[ir.Operation] = []
    op = definition(value)
    while op is not None and op.name in MOVES:
        moves.insert(0, op)
        op = definition(op.operands[0])
    source = value if not moves else moves[0].operands[0]
    found = _dequantised(source, unit) or _whole(source, unit)
    if found is None:
        return None
    numbers, scale, sparse = found
    for move in moves:
        moved, scales = MOVES[move.name](numbers, move), _apply(move, scale)
        if not isinstance(moved, np.ndarray) or (scales is None) != (scale is None):
            return None
        numbers, scale = moved.astype(np.int32, copy=False), scales
    if transposed:
        numbers, scale = numbers.T, scale.T if scale is not None and scale.ndim else scale
    return _per_output(numbers, scale, sparse=sparse)


def _apply(move: ir.Operation, scale: Floats | None) -> Floats | None:
    if scale is None or not scale.ndim:
        return scale
    moved = MOVES[move.name](scale, move)
    return np.asarray(moved) if isinstance(moved, np.ndarray) else None


def _per_output(numbers: Codes, scale: Floats | None, *, sparse: bool) -> QuantisedWeight | None:
    """Scales must not vary within an output; numbers of an output must lie within 256 values."""
    rows = len(numbers)
    flat = numbers.reshape(rows, -1)
    if scale is not None and scale.ndim:
        scales = scale.reshape(rows, -1)
        if not (scales == scales[:, :1]).all():
            return None
        scale = scales[:, 0] if scales.size else np.ones(rows, np.float32)
    low, high = flat.min(axis=1, initial=0), flat.max(axis=1, initial=0)
    if (high - low > 255).any():
        return None
    shift = np.maximum(high - 127, 0) + np.minimum(low + 128, 0)
    codes = (flat - shift[:, None]).astype(np.int8).reshape(numbers.shape)
    return QuantisedWeight(np.ascontiguousarray(codes), scale, shift.astype(np.int32), sparse)


Found = tuple[Codes, Floats | None, bool]


def _dequantised(value: ir.Value, unit: Unit) -> Found | None:
    """Whole numbers without zero point, and scales of the same shape (or one)."""
    parts = dequantised_constant(value, unit)
    if parts is None:
        return None
    codes, scale, zero, sparse = parts
    return codes.astype(np.int32) - zero, np.broadcast_to(scale, codes.shape) if scale.size > 1 else scale, sparse


def dequantised_constant(
    value: ir.Value, unit: Unit
) -> tuple[NDArray[np.generic], Floats, NDArray[np.int32], bool] | None:
    """Codes, scale and zero point (these two broadcast over the codes) of a dequantised constant, and whether it is sparse."""
    made = made_of(definition(value))
    if made is None:
        return None
    codes, scale, zero = (constant(operand, unit) for operand in list(made.operands)[:3])
    if codes is None or not isinstance(scale, np.ndarray) or not isinstance(zero, np.ndarray):
        return None
    sparse = isinstance(codes, Coo)
    dense = as_dense(codes)
    along: tuple[int, ...] = ()
    if scale.ndim:
        axis = scalar(made.operands[3])
        if axis is None:
            return None
        along = tuple(-1 if number == int(axis) % dense.ndim else 1 for number in range(dense.ndim))
    return dense, scale.astype(np.float32).reshape(along), zero.astype(np.int32).reshape(along), sparse


def made_of(op: ir.Operation | None) -> ir.Operation | None:
    """The op with codes, scale, zero point, and axis, of a dequantisation."""
    if op is None or op.name in (_PER_TENSOR, _PER_CHANNEL):
        return op
    made = definition(op.operands[0]) if op.name == "torch.aten.dequantize.self" else None
    return made if made is not None and made.name.startswith("torch.aten._make_per_") else None


def _whole(value: ir.Value, unit: Unit) -> Found | None:
    data = constant(value, unit)
    if data is None or not data.ndim or data.dtype.kind not in "fiu":
        return None
    dense = as_dense(data)
    if np.abs(dense, dtype=np.float64).max(initial=0) > 255 or (dense != np.rint(dense)).any():
        return None
    return dense.astype(np.int32), None, isinstance(data, Coo)


@dataclass(frozen=True, slots=True)
class Quantisation:
    """`clamp(round(value / scale) + zero, low, high)` as `element`; `division` is the op of the quotient (or product).

    A scale that is known is greater than zero.
    """

    value: ir.Value
    division: ir.Operation
    scale: float | ir.Value
    zero: float | ir.Value
    low: float
    high: float
    element: str


def quantisation_of(cast: ir.Operation, unit: Unit) -> Quantisation | None:
    """The quantisation that ends in `cast`; None if it is another op."""
    element = tensor_element(cast.results[0]) if cast.name == CAST else None
    wide = definition(cast.operands[0]) if element in CODES else None
    if element is None or wide is None or wide.name != CAST or tensor_element(wide.operands[0]) != "f32":
        return None
    clamp = definition(wide.operands[0])
    if clamp is None or not clamp.name.startswith("torch.aten.clamp"):
        return None
    low, high = (one_number(operand, unit) for operand in list(clamp.operands)[1:3])
    moved, zero = definition(clamp.operands[0]), one_number_or_zero(clamp.operands[0], unit)
    if moved is not None and moved.name.startswith(_ADD):
        moved = definition(moved.operands[0])
    division = definition(moved.operands[0]) if moved is not None and moved.name == "torch.aten.round" else None
    if division is None or not division.name.startswith((_DIV, _MUL)) or zero is None or len(division.operands) != 2:
        return None
    scale = one_number(division.operands[1], unit)
    if division.name.startswith(_MUL):
        scale = 1 / scale if isinstance(scale, float) and scale else None
    if scale is None or not isinstance(low, float) or not isinstance(high, float):
        return None
    if isinstance(scale, float) and not scale > 0:  # codes of it fall where numbers rise
        return None
    return Quantisation(division.operands[0], division, scale, zero, low, high, element)


def one_number_or_zero(value: ir.Value, unit: Unit) -> float | ir.Value | None:
    """What is added last in `value`: 0 if it ends in no sum."""
    op = definition(value)
    if op is None or not op.name.startswith(_ADD):
        return 0.0
    return one_number(op.operands[1], unit) if scalar(op.operands[2]) == 1 else None


def only_user(value: ir.Value) -> ir.Operation | None:
    """The op that alone reads `value`, once."""
    readers = users(value)
    return readers[0] if len(readers) == 1 and list(readers[0].operands).count(value) == 1 else None
