"""Torch contractions with a weight, described alike: what `form_layers` and `form_quantized` make layers of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch_mlir import ir

from sparsec.errors import ModelError
from sparsec.ir.module import node_name
from sparsec.ir.torch_values import integer_list, is_none, scalar, tensor_shape

FLOAT32_BECAUSE = "float32_because"  # the attribute that says why quantised operands are computed in float32


@dataclass(frozen=True, slots=True)
class Contraction:
    """A torch op as the layer `name` of `x` and `w`, plus `bias` viewed as `bias_shape` (None is its own shape).

    `w` is [outputs, inputs] or [filters, channels / groups, *kernels]; with `transposed`, [inputs, outputs].
    """

    op: ir.Operation
    name: str
    x: ir.Value
    w: ir.Value
    bias: ir.Value | None = None
    bias_shape: tuple[int, ...] | None = None
    transposed: bool = False
    attributes: Mapping[str, ir.Attribute] = field(default_factory=dict)


def contraction_of(op: ir.Operation) -> Contraction | None:
    """None for other ops, for products of which the second operand cannot be a weight [outputs, inputs], and for those
    without results or inputs, which no kernel is for.

    Raises `ModelError` if the shapes contradict each other.
    """
    found = _READERS[op.name](op) if op.name in _READERS else None
    if found is None:
        return None
    _check(found)
    shapes = (tensor_shape(value) or () for value in (found.x, found.w, op.results[0]))
    return None if any(0 in shape for shape in shapes) else found


def _check(found: Contraction) -> None:
    x, w = tensor_shape(found.x), tensor_shape(found.w)
    if not x or not w:
        return
    if found.name == "sparsec.conv":
        groups = ir.IntegerAttr(found.attributes["groups"]).value
        if len(w) != len(x) or x[1] != w[1] * groups or w[0] % groups:
            raise contradiction(found.op, f"[filters, {x[1]} / {groups} groups, ...] as the shape of the weight", x, w)
    elif x[-1] != w[0 if found.transposed else -1]:
        raise contradiction(found.op, f"{x[-1]} inputs of the weight", x, w)


def contradiction(op: ir.Operation, expected: str, *shapes: Sequence[int]) -> ModelError:
    """What to raise for a product of tensors that cannot be multiplied; upstream lets some of them pass."""
    got = " and ".join(str(list(shape)) for shape in shapes)
    return ModelError(
        "The shapes of a product contradict each other.", where=f"node {node_name(op)!r}", expected=expected, got=got
    )


def _convolution(op: ir.Operation) -> Contraction | None:
    x, w, bias, stride, padding, dilation, transposed, _, groups = op.operands
    strides, paddings, dilations = integer_list(stride), integer_list(padding), integer_list(dilation)
    if scalar(transposed) is not False or not (strides and dilations) or paddings is None:
        return None
    axes = len(tensor_shape(x) or ()) - 2
    attributes = {
        "strides": ir.DenseI64ArrayAttr.get(_per_axis(strides, axes)),
        "dilations": ir.DenseI64ArrayAttr.get(_per_axis(dilations, axes)),
        "before": ir.DenseI64ArrayAttr.get(_per_axis(paddings, axes)),
        "after": ir.DenseI64ArrayAttr.get(_per_axis(paddings, axes)),
        "groups": ir.IntegerAttr.get(ir.IntegerType.get_signless(64), int(scalar(groups) or 1)),
    }
    bias_shape = (1, (tensor_shape(w) or (0,))[0], *[1] * axes)
    return Contraction(op, "sparsec.conv", x, w, _present(bias), bias_shape, attributes=attributes)


def _per_axis(values: Sequence[int], axes: int) -> list[int]:
    """torch allows one number for all axes."""
    return list(values) if len(values) == axes else [values[0]] * axes


def _present(bias: ir.Value) -> ir.Value | None:
    return None if is_none(bias) else bias


def _linear(op: ir.Operation) -> Contraction | None:
    x, w, bias = op.operands
    return Contraction(op, "sparsec.linear", x, w, _present(bias))


def _matmul(op: ir.Operation) -> Contraction | None:
    x, w = op.operands
    if len(tensor_shape(w) or ()) != 2 or not tensor_shape(x):
        return None
    return Contraction(op, "sparsec.linear", x, w, transposed=True)


def _addmm(op: ir.Operation) -> Contraction | None:
    bias, x, w, beta, alpha = op.operands
    if scalar(beta) != 1 or scalar(alpha) != 1:
        return None
    return Contraction(op, "sparsec.linear", x, w, bias, transposed=True)


_READERS: Mapping[str, Callable[[ir.Operation], Contraction | None]] = {
    "torch.aten.convolution": _convolution,
    "torch.aten.linear": _linear,
    "torch.aten.mm": _matmul,
    "torch.aten.matmul": _matmul,
    "torch.aten.addmm": _addmm,
}

CONTRACTIONS = tuple(_READERS)
"""The ops that `contraction_of` may describe."""
