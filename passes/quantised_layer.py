"""Building a layer on bytes in the place of a quantised contraction, with its corrections, bias and scale (see `form_quantized`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.coo import Coo
from sparsec.ir.module import integers, node_name, replace
from sparsec.ir.torch_values import TorchBuilder, scalar, tensor_element, tensor_shape, tensor_type
from sparsec.ir.weights import Weight, weight_op, weight_types
from sparsec.kernels.arithmetic import U8S8
from sparsec.kernels.problem import Axis, ConvProblem, LinearProblem, Problem
from sparsec.passes.contraction import Contraction
from sparsec.passes.fold_constants import constant
from sparsec.passes.quantised_values import (
    CAST,
    CODES,
    Activation,
    Quantisation,
    QuantisedWeight,
    only_user,
    quantisation_of,
)
from sparsec.passes.unit import Unit

INT32_MAX = 2**31 - 1
_BIAS_ERROR = 2.0**-21  # a bias is whole if it is so up to its own rounding


@dataclass(frozen=True, slots=True)
class QuantisedContraction:
    """A contraction of codes of 8 bit; `zero` and `zero_value` are the constant and the computed zero point of unsigned ones."""

    contraction: Contraction
    x: Activation
    w: QuantisedWeight

    @property
    def signed(self) -> bool:
        return tensor_element(self.x.codes) == "si8"

    @property
    def zero(self) -> int:
        return (128 if self.signed else 0) + (round(self.x.zero) if isinstance(self.x.zero, float) else 0)

    @property
    def zero_value(self) -> ir.Value | None:
        return self.x.zero if isinstance(self.x.zero, ir.Value) else None

    @property
    def padded(self) -> bool:
        attributes = self.contraction.attributes
        return any(any(integers(attributes[name])) for name in ("before", "after") if name in attributes)

    @property
    def outputs(self) -> int:
        return len(self.w.codes)

    @property
    def inputs(self) -> int:
        """Products per sum."""
        return math.prod(self.w.codes.shape[1:])

    @property
    def scale(self) -> NDArray[np.float32] | None:
        """The constant part of the scale of the sums, of one element or one for each output; None is 1."""
        of_x, of_w = self.x.scale, self.w.scale
        if not isinstance(of_x, float):
            return of_w
        return np.float32(of_x) * (np.ones((), np.float32) if of_w is None else of_w)

    def problem(self) -> Problem:
        """What is asked of a kernel."""
        x, attributes = tensor_shape(self.contraction.x) or (), self.contraction.attributes
        w = self.w.codes.shape
        if self.contraction.name == "sparsec.linear":
            return LinearProblem(math.prod(x[:-1]), x[-1], w[0], U8S8)
        names = ("strides", "dilations", "before", "after")
        axes = tuple(map(Axis, x[2:], w[2:], *(integers(attributes[name]) for name in names)))
        return ConvProblem(x[0], x[1], w[0], ir.IntegerAttr(attributes["groups"]).value, axes, U8S8)

    def along_outputs(self, data: NDArray[np.generic]) -> NDArray[np.generic]:
        """One number for each output, in the shape in which it lies along the result's axis of outputs."""
        if self.contraction.name == "sparsec.linear" or data.size == 1:
            return data
        axes = len(self.w.codes.shape) - 2
        return data.reshape(1, -1, *[1] * axes)

    def of_outputs(self, data: Weight | None) -> NDArray[np.generic] | None:
        """Numbers that lie along the axis of outputs as a vector; None if they lie otherwise."""
        if not isinstance(data, np.ndarray) or data.size != self.outputs:
            return None
        axis = -1 if self.contraction.name == "sparsec.linear" else 1 - len(self.w.codes.shape)
        lies = data.ndim >= -axis and data.shape[axis] == self.outputs
        return data.reshape(-1) if lies else None


@dataclass(slots=True)
class Chain:
    """Ops that read each other alone, from the contraction on; what is built takes the place of the last."""

    ops: list[ir.Operation]

    @property
    def end(self) -> ir.Operation:
        return self.ops[-1]

    def reader(self) -> ir.Operation | None:
        return only_user(self.end.results[0])

    def replace(self, value: ir.Value) -> None:
        replace(self.end, [value])
        for op in reversed(self.ops[:-1]):
            op.erase()


def form(quantised: QuantisedContraction, unit: Unit) -> None:
    """Put the layer and what corrects, scales and biases its sums in the place of the contraction."""
    op = quantised.contraction.op
    element, chain = tensor_element(op.results[0]), Chain([op])
    assert element is not None
    whole, bias = _take_bias(quantised, chain, unit)
    scale, rectified = take_quantisation(quantised.scale, chain, unit) if bias is None else (quantised.scale, False)
    element = take_integer_cast(element, chain)
    build = TorchBuilder(chain.end, op.location)
    value = _corrected(quantised, whole, build, unit)
    if element != "si32":
        value = _scaled(quantised, build.cast(value, element), scale, build, unit)
    if rectified:
        value = build.create("torch.aten.relu", [value.type], [value])
    if bias is not None:
        shape = quantised.contraction.bias_shape
        value = build.add(value, build.view(bias, shape) if shape else bias, value.type)
    chain.replace(value)


Whole = NDArray[np.int64]


def _take_bias(quantised: QuantisedContraction, chain: Chain, unit: Unit) -> tuple[Whole | None, ir.Value | None]:
    """The bias as whole multiples of the scale of the sums, or as it is where it is not constant or not whole.

    An addition of a constant that follows the contraction goes into the chain if that is whole.
    """
    bias = quantised.contraction.bias
    if bias is not None:
        data = constant(bias, unit)
        vector = data.reshape(-1) if isinstance(data, np.ndarray) and data.size == quantised.outputs else None
        whole = _whole_bias(quantised, vector)
        return whole, (bias if whole is None else None)
    reader = chain.reader()
    if reader is None or reader.name != "torch.aten.add.Tensor" or scalar(reader.operands[2]) != 1:
        return None, None
    other = reader.operands[1] if reader.operands[0] == chain.end.results[0] else reader.operands[0]
    whole = _whole_bias(quantised, quantised.of_outputs(constant(other, unit)))
    if whole is not None and reader.results[0].type == chain.end.results[0].type:
        chain.ops.append(reader)
        return whole, None
    return None, None


def _whole_bias(quantised: QuantisedContraction, bias: NDArray[np.generic] | None) -> Whole | None:
    if bias is None or isinstance(quantised.x.scale, ir.Value):
        return None
    scale = np.float64(1) if quantised.scale is None else quantised.scale.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(bias == 0, 0, bias.astype(np.float64) / scale)
    whole = np.rint(ratio)
    near = np.abs(ratio - whole) <= _BIAS_ERROR * np.maximum(np.abs(whole), 1)
    return whole.astype(np.int64) if near.all() and np.abs(whole).max(initial=0) <= INT32_MAX else None


def take_integer_cast(element: str, chain: Chain) -> str:
    """The element type of the result; an integer operator is in float64 only where it stays so, and is cast back."""
    reader = chain.reader()
    if element == "f64" and reader is not None and reader.name == CAST and tensor_element(reader.results[0]) == "si32":
        chain.ops.append(reader)
        return "si32"
    return element


def take_quantisation(
    given: NDArray[np.float32] | None, chain: Chain, unit: Unit
) -> tuple[NDArray[np.float32] | None, bool]:
    """The factor of the sums (None is 1), and whether they are rectified then.

    The division of a quantisation that follows goes into the factor `given`.
    In ONNX Runtime's order: (scale of x * scale of w) / scale of y.
    """
    scale, reader, taken, rectified = given, chain.reader(), list[ir.Operation](), False
    while reader is not None and reader.name == "torch.aten.relu":
        taken, rectified, reader = [*taken, reader], True, only_user(reader.results[0])
    quantisation = _quantisation_at(reader, unit)
    if scale is None or quantisation is None or not isinstance(quantisation.scale, float):
        return scale, False
    chain.ops += [*taken, quantisation.division]
    redundant = isinstance(quantisation.zero, float) and quantisation.low >= quantisation.zero
    return scale / np.float32(quantisation.scale), rectified and not redundant


def _quantisation_at(division: ir.Operation | None, unit: Unit) -> Quantisation | None:
    """The quantisation that begins with `division`, if nothing else reads the steps of it."""
    op = division if division is not None and division.name in _STEPS else None
    while op is not None and not (op.name == CAST and tensor_element(op.results[0]) in CODES):
        op = only_user(op.results[0]) if op.name in _STEPS else None
    found = quantisation_of(op, unit) if op is not None else None
    return found if found is not None and found.division == division else None


_STEPS = (
    "torch.aten.div.Tensor",
    "torch.aten.mul.Tensor",
    "torch.aten.mul.Scalar",
    "torch.aten.round",
    "torch.aten.add.Tensor",
    "torch.aten.clamp.Tensor",
    "torch.aten.clamp",
    CAST,
)
"""The ops of a quantisation."""


def _corrected(quantised: QuantisedContraction, whole: Whole | None, build: TorchBuilder, unit: Unit) -> ir.Value:
    """The sums without what zero points add, and with the bias, as si32."""
    w, result = quantised.w, tensor_shape(quantised.contraction.op.results[0]) or ()
    type_ = tensor_type(result, "si32", build.context)
    total = build.from_builtin(_layer(quantised, build, unit), type_)
    # sum (x - zero) (codes + shift) = sum x codes - zero * sum codes + shift * (sum x - zero * inputs)
    signed_zero = quantised.zero - (128 if quantised.signed else 0)
    added = -quantised.zero * w.sums - w.shift.astype(np.int64) * signed_zero * quantised.inputs
    added = added if whole is None else added + whole
    if added.any():
        total = build.add(total, _stored(quantised, _wrapped(added), "bias", build, unit), type_)
    if quantised.zero_value is not None:
        zero = build.cast(build.view(quantised.zero_value, ()), "si32")
        sums = _stored(quantised, _wrapped(w.sums + w.shift * quantised.inputs), "sums", build, unit)
        total = build.subtract(total, build.multiply(sums, zero, sums.type), type_)
    if w.shift.any():
        shift = _stored(quantised, w.shift, "shift", build, unit)
        total = build.add(total, build.multiply(_sums_of_x(quantised, build), shift, type_), type_)
    return total


def _wrapped(numbers: Whole) -> NDArray[np.int32]:
    """Modulo 2^32: sums of products are within 32 bits, so what leads to them may wrap."""
    return numbers.astype(np.int32)


def _layer(quantised: QuantisedContraction, build: TorchBuilder, unit: Unit) -> ir.Value:
    """The layer on bytes, as a builtin tensor of i32."""
    contraction = quantised.contraction
    codes = quantised.x.moved(build.op)
    if quantised.signed:
        flip = build.literal(np.array(-128, np.int8))
        codes = build.create("torch.aten.bitwise_xor.Tensor", [codes.type], [codes, flip])
    attributes = dict(contraction.attributes)
    if contraction.name == "sparsec.conv":
        attributes["pad_value"] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), quantised.zero)
    weight: Weight = Coo.from_dense(quantised.w.codes) if quantised.w.sparse else quantised.w.codes
    name = unit.weights.add(f"{_stem(quantised)}/codes", weight)
    tensor, _ = weight_types(weight, build.context)
    w = weight_op(name, tensor, None, loc=build.location, ip=ir.InsertionPoint(build.op))
    shape = tensor_shape(contraction.op.results[0]) or ()
    result = ir.RankedTensorType.get(shape, ir.IntegerType.get_signless(32))
    return build.create(contraction.name, [result], [build.to_builtin(codes), w], attributes)


def _sums_of_x(quantised: QuantisedContraction, build: TorchBuilder) -> ir.Value:
    """The sum of the codes of each token: [..., 1]."""
    codes = build.cast(quantised.x.moved(build.op), "si32")
    shape = (*(tensor_shape(codes) or ())[:-1], 1)
    operands = [codes, build.integers([-1]), build.boolean(True), build.integer(3)]
    return build.create("torch.aten.sum.dim_IntList", [tensor_type(shape, "si32", build.context)], operands)


def _scaled(
    quantised: QuantisedContraction,
    value: ir.Value,
    scale: NDArray[np.float32] | None,
    build: TorchBuilder,
    unit: Unit,
) -> ir.Value:
    """The product with the constant scale and, if there is one, with that which is computed."""
    if scale is not None:
        value = build.multiply(value, _stored(quantised, scale, "scale", build, unit), value.type)
    if isinstance(quantised.x.scale, ir.Value):
        value = build.multiply(value, build.view(quantised.x.scale, ()), value.type)
    return value


def _stored(
    quantised: QuantisedContraction, data: NDArray[np.generic], stem: str, build: TorchBuilder, unit: Unit
) -> ir.Value:
    """A constant for each output, or of one number."""
    if data.size == 1:
        return build.literal(data.reshape(()))
    array = np.ascontiguousarray(quantised.along_outputs(data))
    tensor, vtensor = weight_types(array, build.context)
    name = unit.weights.add(f"{_stem(quantised)}/{stem}", array)
    return weight_op(name, tensor, vtensor, loc=build.location, ip=ir.InsertionPoint(build.op))


def _stem(quantised: QuantisedContraction) -> str:
    return node_name(quantised.contraction.op) or quantised.contraction.name
