"""Building a layer on bytes in the place of a quantised contraction, with its corrections, bias and scale (see `form_quantized`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.coo import Coo
from sparsec.ir.module import node_name
from sparsec.ir.torch_values import TorchBuilder, scalar, tensor_element, tensor_shape, tensor_type
from sparsec.ir.weights import Weight, weight_op, weight_types
from sparsec.passes.fold_constants import constant
from sparsec.passes.quantised_chain import Chain, take_integer_cast, take_quantisation
from sparsec.passes.quantised_contraction import QuantisedContraction
from sparsec.passes.unit import Unit

Whole = NDArray[np.int64]

INT32_MAX = 2**31 - 1
_BIAS_ERROR = 2.0**-21  # a bias is whole if it is so up to its own rounding


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
    return build.weight(unit.weights, f"{_stem(quantised)}/{stem}", array)


def _stem(quantised: QuantisedContraction) -> str:
    return node_name(quantised.contraction.op) or quantised.contraction.name
