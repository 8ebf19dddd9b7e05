"""fold_batch_norm: a batch normalisation of a convolution becomes part of its weight and bias.

Before:
    %c = torch.aten.convolution %x, %w, %none, ...
    %y = torch.aten.batch_norm %c, %gamma, %beta, %mean, %variance, %false, %momentum, %epsilon, %cudnn
After:
    %y = torch.aten.convolution %x, %w_scaled, %bias, ...

With s = gamma / sqrt(variance + epsilon): w' = s w and b' = (b - mean) s + beta (Jacob et al., CVPR 2018, section 3.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.coo import Coo
from sparsec.ir.module import find, replace, users
from sparsec.ir.torch_values import TorchBuilder, definition, is_none, scalar, weight_of
from sparsec.ir.weights import Weight
from sparsec.passes.fold_constants import constant
from sparsec.passes.unit import Unit

Array = NDArray[np.float64]


def fold_batch_norm(unit: Unit) -> None:
    """Fold every inference-mode batch norm whose only input is a convolution that nothing else reads."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == "torch.aten.batch_norm"):
            convolution = definition(op.operands[0])
            if convolution is not None and convolution.name == "torch.aten.convolution":
                _fold(op, convolution, unit)


def _fold(op: ir.Operation, convolution: ir.Operation, unit: Unit) -> None:
    name = weight_of(convolution.operands[1])
    epsilon, training = scalar(op.operands[7]), scalar(op.operands[5])
    if name is None or training is not False or epsilon is None or len(users(convolution.results[0])) != 1:
        return
    if scalar(convolution.operands[6]) is not False:  # transposed: filters are not the first axis
        return
    weight = unit.weights[name]
    filters = weight.shape[0]
    gamma = vector(op.operands[1], filters, 1.0, unit)
    beta = vector(op.operands[2], filters, 0.0, unit)
    mean = vector(op.operands[3], filters, 0.0, unit)
    variance = vector(op.operands[4], filters, 1.0, unit)
    bias = vector(convolution.operands[2], filters, 0.0, unit)
    if gamma is None or beta is None or mean is None or variance is None or bias is None:
        return
    scale = gamma / np.sqrt(variance + float(epsilon))
    build = TorchBuilder(convolution)
    convolution.operands[1] = build.weight(unit.weights, f"{name}/batch_norm", scaled(weight, scale))
    shifted = ((bias - mean) * scale + beta).astype(np.float32)
    convolution.operands[2] = build.weight(unit.weights, f"{name}/bias", shifted)
    replace(op, [convolution.results[0]])


def vector(value: ir.Value, size: int, default: float, unit: Unit) -> Array | None:
    """A per-filter parameter in double precision; `default` where the model has none; None if it is computed."""
    if is_none(value):
        return np.full(size, default)
    weight = constant(value, unit)
    return np.asarray(weight, dtype=np.float64) if isinstance(weight, np.ndarray) and weight.shape == (size,) else None


def scaled(weight: Weight, scale: Array) -> Weight:
    """Each filter times its scale; a sparse weight keeps its pattern."""
    if isinstance(weight, Coo):
        filters = weight.indices // max(weight.size // weight.shape[0], 1)
        return Coo(weight.shape, weight.indices, (weight.values.astype(np.float64) * scale[filters]).astype(np.float32))
    scaled = weight.astype(np.float64) * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return scaled.astype(np.float32)
