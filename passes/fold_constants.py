"""fold_constants: ops on weights alone are computed now, and become weights themselves.

Before:
    %w = "sparsec.weight"() {sym_name = "fc.weight"} ...   %t = torch.aten.t %w : ... -> !torch.vtensor<[300,200],f32>
After:
    %t = "sparsec.weight"() {sym_name = "fc.weight/t"} ...

Sparse weights stay sparse under ops that only move elements; arithmetic on them decodes to dense unless it keeps zeros (a product).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.coo import Coo, as_dense
from sparsec.ir.module import find, replace
from sparsec.ir.torch_values import definition, integer_list, scalar, tensor_shape, weight_of
from sparsec.ir.weights import Weight, weight_op, weight_types
from sparsec.passes.unit import Unit

Array = NDArray[np.generic]
_MAX_GROWTH = 4  # a fold may not make more than this many times the bytes it read: broadcasts stay code


def fold_constants(unit: Unit) -> None:
    """Fold until nothing changes; program order makes one sweep enough."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name in _FOLDERS):
            result = _FOLDERS[op.name](op, unit)
            if result is not None and result.shape == tensor_shape(op.results[0]):
                stem = weight_of(op.operands[0]) or "constant"
                name = unit.weights.add(f"{stem}/{op.name.split('.')[-1]}", result)
                tensor, vtensor = weight_types(result, op.context)
                if vtensor == op.results[0].type:
                    value = weight_op(name, tensor, vtensor, loc=op.location, ip=ir.InsertionPoint(op))
                    replace(op, [value])


def constant(value: ir.Value, unit: Unit) -> Weight | None:
    """The data behind a torch value: a weight, a literal, or a scalar; None if it is computed."""
    name = weight_of(value)
    if name is not None:
        return unit.weights[name]
    op = definition(value)
    if op is not None and op.name == "torch.vtensor.literal":
        attribute = op.attributes["value"]
        return np.array(attribute) if isinstance(attribute, ir.DenseElementsAttr) else None
    number = scalar(value)
    return np.asarray(number, dtype=np.float32) if isinstance(number, (int, float)) else None


Folder = Callable[[ir.Operation, Unit], Weight | None]


def _moving(move: Callable[[Weight, ir.Operation], Weight | None]) -> Folder:
    """A fold that permutes or reshapes its first operand; views cost nothing."""

    def fold(op: ir.Operation, unit: Unit) -> Weight | None:
        name = weight_of(op.operands[0])
        return move(unit.weights[name], op) if name is not None else None

    return fold


def _swapped(weight: Weight, first: int, second: int) -> Weight:
    axes = list(range(weight.ndim))
    axes[first], axes[second] = axes[second], axes[first]
    return weight.transpose(tuple(axes))


def _transpose(weight: Weight, op: ir.Operation) -> Weight | None:
    first, second = scalar(op.operands[1]), scalar(op.operands[2])
    return None if first is None or second is None else _swapped(weight, int(first), int(second))


def _t(weight: Weight, op: ir.Operation) -> Weight | None:
    return _swapped(weight, 0, 1) if weight.ndim == 2 else None


def _permute(weight: Weight, op: ir.Operation) -> Weight | None:
    axes = integer_list(op.operands[1])
    return weight.transpose(axes) if axes is not None else None


def _reshape(weight: Weight, op: ir.Operation) -> Weight | None:
    shape = tensor_shape(op.results[0])
    return weight.reshape(shape) if shape is not None and math.prod(shape) == weight.size else None


def _arithmetic(compute: Callable[..., Array], *, keeps_zeros: bool = False) -> Folder:
    """A fold that computes on all its operands in their own precision."""

    def fold(op: ir.Operation, unit: Unit) -> Weight | None:
        if weight_of(op.operands[0]) is None and (len(op.operands) < 2 or weight_of(op.operands[1]) is None):
            return None
        values = [constant(operand, unit) for operand in op.operands[:2]]
        if any(value is None for value in values) or not _is_plain(op):
            return None
        dense = [as_dense(value) for value in values if value is not None]
        with np.errstate(all="ignore"):
            result = compute(*dense).astype(next(array.dtype for array in dense if array.ndim))
        if result.nbytes > _MAX_GROWTH * sum(array.nbytes for array in dense):
            return None
        sparse = keeps_zeros and any(isinstance(value, Coo) for value in values)
        return Coo.from_dense(result) if sparse else result

    return fold


def _is_plain(op: ir.Operation) -> bool:
    """`aten.add` and `aten.sub` have a third operand, a factor, which is almost always 1."""
    return len(op.operands) < 3 or scalar(op.operands[2]) == 1


MOVES: Mapping[str, Callable[[Weight, ir.Operation], Weight | None]] = {
    "torch.aten.transpose.int": _transpose,
    "torch.aten.t": _t,
    "torch.aten.permute": _permute,
    **{
        f"torch.aten.{name}": _reshape
        for name in ("view", "reshape", "unsqueeze", "squeeze", "squeeze.dim", "flatten.using_ints", "contiguous")
    },
}
"""Ops that only move the elements of their first operand; what each does to a weight."""

_FOLDERS: Mapping[str, Folder] = {
    **{name: _moving(move) for name, move in MOVES.items()},
    "torch.aten.add.Tensor": _arithmetic(np.add),
    "torch.aten.add.Scalar": _arithmetic(np.add),
    "torch.aten.sub.Tensor": _arithmetic(np.subtract),
    "torch.aten.mul.Tensor": _arithmetic(np.multiply, keeps_zeros=True),
    "torch.aten.mul.Scalar": _arithmetic(np.multiply, keeps_zeros=True),
    "torch.aten.div.Tensor": _arithmetic(np.divide, keeps_zeros=True),
    "torch.aten.neg": _arithmetic(np.negative, keeps_zeros=True),
    "torch.aten.sqrt": _arithmetic(np.sqrt, keeps_zeros=True),
    "torch.aten.rsqrt": _arithmetic(lambda x: 1 / np.sqrt(x)),
    "torch.aten.reciprocal": _arithmetic(np.reciprocal),
}
