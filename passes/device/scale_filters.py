"""scale_filters: what the channels of a convolution's result are multiplied by, or have added, becomes part of its weight and bias.

Before (a batch normalisation of torch, as exported):
    %c = torch.aten.convolution %x, %w, %none, ...
    %s = torch.aten.mul.Tensor %c, %scale : [2,16,8,8], [1,16,1,1]   %y = torch.aten.add.Tensor %s, %shift, %int1 : ..., [1,16,1,1]
After:
    %y = torch.aten.convolution %x, %w_scaled, %bias, ...

Kernels on GPUs add to sums before they round them, and do not multiply; of two convolutions that are added, one has the biases of
both, as a kernel adds one.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
from torch_mlir import ir

from sparsec.ir.module import find, replace, users
from sparsec.ir.torch_values import TorchBuilder, definition, is_none, scalar, tensor_shape, weight_of
from sparsec.passes.fold_batch_norm import Array, scaled, vector
from sparsec.passes.fold_constants import constant
from sparsec.passes.unit import Unit

_ADD = "torch.aten.add.Tensor"
_FOLDED = ("torch.aten.mul.Tensor", _ADD)


def scale_filters(unit: Unit) -> None:
    """Fold every such product and sum into the convolution before it, if nothing else reads that."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name in _FOLDED):
            first, second = list(op.operands)[:2]
            for result, other in ((first, second), (second, first)):
                convolution = definition(result)
                if _is_plain(convolution) and _fold(op, convolution, other, unit):
                    break
        for op in find(unit.module, lambda op: op.name == _ADD):
            one, other = (definition(operand) for operand in list(op.operands)[:2])
            if _is_plain(one) and _is_plain(other) and scalar(op.operands[2]) == 1:
                _join_biases(one, other, unit)


def _is_plain(op: ir.Operation | None) -> TypeGuard[ir.Operation]:
    """True for a convolution whose filters are the first axis of its weight, and that has one reader."""
    return (
        op is not None
        and op.name == "torch.aten.convolution"
        and scalar(op.operands[6]) is False
        and len(users(op.results[0])) == 1
    )


def _fold(op: ir.Operation, convolution: ir.Operation, other: ir.Value, unit: Unit) -> bool:
    name, shape = weight_of(convolution.operands[1]), tensor_shape(convolution.results[0])
    if name is None or shape is None or tensor_shape(op.results[0]) != shape:
        return False
    build, filters = TorchBuilder(convolution), unit.weights[name].shape[0]
    bias, factors = vector(convolution.operands[2], filters, 0.0, unit), _by_channel(other, shape, unit)
    if bias is None or factors is None:
        return False
    if op.name == "torch.aten.mul.Tensor":
        weight = build.weight(unit.weights, f"{name}/scaled", scaled(unit.weights[name], factors))
        convolution.operands[1], bias = weight, bias * factors
    elif scalar(op.operands[2]) == 1:
        bias = bias + factors
    else:
        return False
    convolution.operands[2] = build.weight(unit.weights, f"{name}/bias", bias.astype(np.float32))
    replace(op, [convolution.results[0]])
    return True


def _join_biases(one: ir.Operation, other: ir.Operation, unit: Unit) -> None:
    """Let the later of two convolutions of equally many filters have the biases of both."""
    if one == other or tensor_shape(one.results[0]) != tensor_shape(other.results[0]):
        return
    if not one.is_before_in_block(other):
        one, other = other, one
    filters = (tensor_shape(one.results[0]) or (0, 0))[1]
    biases = [vector(each.operands[2], filters, 0.0, unit) for each in (one, other)]
    if is_none(one.operands[2]) or biases[0] is None or biases[1] is None:
        return
    joined = (biases[0] + biases[1]).astype(np.float32)
    stem = f"{weight_of(other.operands[1]) or 'filters'}/biases"
    other.operands[2] = TorchBuilder(other).weight(unit.weights, stem, joined)
    one.operands[2] = TorchBuilder(one, other.location).none()


def _by_channel(value: ir.Value, shape: tuple[int, ...], unit: Unit) -> Array | None:
    """A constant that has one number for each channel of a tensor of this shape, or one for all."""
    found = constant(value, unit)
    if not isinstance(found, np.ndarray) or found.ndim > len(shape):
        return None
    lengths = (1,) * (len(shape) - found.ndim) + found.shape
    if any(length != 1 for axis, length in enumerate(lengths) if axis != 1) or lengths[1] not in (1, shape[1]):
        return None
    return np.broadcast_to(found.reshape(-1).astype(np.float64), (shape[1],))
