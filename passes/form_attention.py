"""form_attention: softmax(scale Q K^T + mask) V, spelt out in the torch dialect, becomes one layer.

Before (views and casts left out):
    %s = "sparsec.matmul"(%q, %kt)   %d = torch.aten.div.Scalar %s, %float8   %z = torch.aten.add.Tensor %d, %mask
    %p = torch.aten.softmax.int %z, %int-1   %y = "sparsec.matmul"(%p, %v)
After:
    %k = torch.aten.transpose.int %kt, -2, -1
    %y = "sparsec.attention"(%q, %k, %v, %mask) {scale = 0.125}

The products and all between them are then one kernel, which keeps rows of softmax on chip (Dao et al., "FlashAttention", 2022).
Softmax may also be spelt out. Where it chooses zeros for rows that are masked altogether, of which the kernels make NaN, the same
choice is made of results, by the mask.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch_mlir import ir

from sparsec.ir.module import find, replace
from sparsec.ir.torch_values import (
    FROM_TORCH_OP,
    TorchBuilder,
    definition,
    integer_list,
    scalar,
    tensor_element,
    tensor_shape,
    tensor_type,
)
from sparsec.ir.weights import TO_TORCH_OP
from sparsec.kernels.problem import AttentionProblem
from sparsec.passes.unit import Unit

_VIEWS = (
    "torch.aten.view",
    "torch.aten._unsafe_view",
    "torch.aten.reshape",
    "torch.aten.expand",
    "torch.aten.contiguous",
)


@dataclass(frozen=True, slots=True)
class _Scores:
    """scale * q k^T + mask, as [batch, heads, queries, keys]."""

    q: ir.Value
    k: ir.Value
    transposed: bool  # k is [..., keys, size]
    scale: float
    mask: ir.Value | None
    shape: tuple[int, int, int, int]
    guarded: bool  # rows that are masked altogether give zeros


def form_attention(unit: Unit, fits: Callable[[AttentionProblem], bool]) -> None:
    """Replace every second product whose first operand is a softmax of the first's, where there is a kernel: if it `fits`."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == "sparsec.matmul"):
            shares = _plain(op.operands[0])
            weights = _softmax(shares)
            scores = _scores(weights, guarded=_is_guarded(shares)) if weights is not None else None
            problem = _problem(op, scores) if scores is not None else None
            if scores is not None and problem is not None and fits(problem):
                _form(op, scores)


def _softmax(value: ir.Value) -> ir.Value | None:
    """What `value` is the softmax of over the last axis; None if it is none."""
    op = definition(value)
    if op is None:
        return None
    match op.name:
        case "torch.aten.softmax.int" | "torch.aten._softmax":
            last = len(tensor_shape(value) or ()) - 1
            return op.operands[0] if scalar(op.operands[1]) in (-1, last) else None
        case "torch.aten.where.self":
            return _chosen(op)
        case "torch.aten.div.Tensor":
            return _spelt_out(op)
        case _:
            return None


def _is_guarded(value: ir.Value) -> bool:
    op = definition(value)
    return op is not None and op.name == "torch.aten.where.self"


def _chosen(op: ir.Operation) -> ir.Value | None:
    """Of a softmax that is zero where all of a row is minus infinity."""
    condition, zeros, otherwise = op.operands
    inner, every = _softmax(otherwise), definition(condition)
    compared = definition(every.operands[0]) if every is not None and every.name == "torch.aten.all.dim" else None
    if inner is None or compared is None or compared.name != "torch.aten.eq.Scalar" or constant(zeros) != 0:
        return None
    return inner if compared.operands[0] == inner and scalar(compared.operands[1]) == -math.inf else None


def _spelt_out(op: ir.Operation) -> ir.Value | None:
    """exp(z - max z) / sum of it."""
    grown, total = definition(op.operands[0]), definition(op.operands[1])
    if grown is None or total is None or (grown.name, total.name) != ("torch.aten.exp", "torch.aten.sum.dim_IntList"):
        return None
    less = definition(grown.operands[0])
    last = len(tensor_shape(op.results[0]) or ()) - 1
    if less is None or less.name != "torch.aten.sub.Tensor" or total.operands[0] != grown.results[0]:
        return None
    top = definition(less.operands[1])
    if top is None or top.name not in ("torch.aten.max.dim", "torch.aten.amax") or top.operands[0] != less.operands[0]:
        return None
    axes = integer_list(top.operands[1]) or (scalar(top.operands[1]),)
    along = {*axes, *(integer_list(total.operands[1]) or ())}
    return less.operands[0] if along <= {-1, last} else None


def _scores(value: ir.Value, *, guarded: bool) -> _Scores | None:
    """The scores that `value` is."""
    shape = tensor_shape(value) or ()
    mask: ir.Value | None = None
    op = definition(value)
    if op is not None and op.name == "torch.aten.add.Tensor" and scalar(op.operands[2]) == 1:
        for inner, other in (op.operands[:2], list(op.operands[:2])[::-1]):
            if _product(inner) is not None and tensor_element(other) == "f32":
                value, mask = inner, other
                break
    found = _product(value)
    if found is None or len(shape) not in (3, 4) or tensor_shape(value) != shape:
        return None
    product, scale = found
    (q, of_q), (k, of_k) = (_scaled(_plain(operand)) for operand in product.operands)
    return _Scores(q, k, "transposed" in product.attributes, scale * of_q * of_k, mask, _filled(shape), guarded)


def _product(value: ir.Value) -> tuple[ir.Operation, float] | None:
    """The product of two activations that `value` is, times a number."""
    inner, factor = _scaled(_plain(value))
    op = definition(_plain(inner))
    return (op, factor) if op is not None and op.name == "sparsec.matmul" else None


def _scaled(value: ir.Value) -> tuple[ir.Value, float]:
    """A value as another one times a number."""
    op = definition(value)
    if op is not None and op.name in ("torch.aten.mul.Scalar", "torch.aten.mul.Tensor"):
        factor = constant(op.operands[1])
    elif op is not None and op.name in ("torch.aten.div.Scalar", "torch.aten.div.Tensor"):
        divisor = constant(op.operands[1])
        factor = 1 / divisor if divisor else None
    else:
        factor = None
    if op is None or factor is None or tensor_shape(op.operands[0]) != tensor_shape(value):
        return value, 1.0
    inner, more = _scaled(op.operands[0])
    return inner, factor * more


def constant(value: ir.Value) -> float | None:
    """The number that a scalar, or every element of a constant tensor, is."""
    number, op = scalar(value), definition(value)
    if number is not None:
        return float(number)
    if op is None or op.name != "torch.vtensor.literal":
        return None
    attribute = op.attributes["value"]
    if not isinstance(attribute, ir.DenseElementsAttr) or not attribute.is_splat:
        return None
    return float(attribute.get_splat_value().value)


def _plain(value: ir.Value) -> ir.Value:
    """The value behind casts, and behind views that leave the last two axes as they are."""
    op = definition(value)
    if op is None or op.name not in (FROM_TORCH_OP, TO_TORCH_OP, *_VIEWS):
        return value
    inner = op.operands[0]
    if op.name in _VIEWS:
        before, after = tensor_shape(inner) or (), tensor_shape(value) or ()
        if before[-2:] != after[-2:] or math.prod(before) != math.prod(after) or len(before) < 2:
            return value
    return _plain(inner)


def _problem(op: ir.Operation, scores: _Scores) -> AttentionProblem | None:
    """What the layer would compute; None if it is no attention of three operands alike."""
    size = (tensor_shape(scores.q) or (0,))[-1]
    mask = tensor_shape(scores.mask) if scores.mask is not None else ()
    if "transposed" in op.attributes or (tensor_shape(_plain(op.operands[1])) or (0,))[-1] != size:
        return None
    if mask is None or len(mask) > len(scores.shape):
        return None
    return AttentionProblem(*scores.shape, size, scores.scale, _filled(mask) if scores.mask is not None else None)


def _filled(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The same with axes of 1 in front, four in all."""
    batch, heads, queries, keys = (1,) * (4 - len(shape)) + shape
    return batch, heads, queries, keys


def _form(op: ir.Operation, scores: _Scores) -> None:
    """The layer in the place of the second product."""
    build = TorchBuilder(op)
    batch, heads, queries, keys = scores.shape
    size = (tensor_shape(scores.q) or (0,))[-1]
    k = scores.k if scores.transposed else _turned(scores.k, build)
    operands = [
        _viewed(scores.q, (batch, heads, queries, size), build),
        _viewed(k, (batch, heads, keys, size), build),
        _viewed(_plain(op.operands[1]), (batch, heads, keys, size), build),
    ]
    if scores.mask is not None:
        shape = tensor_shape(scores.mask) or ()
        operands.append(_viewed(scores.mask, _filled(shape), build))
    result = ir.RankedTensorType.get((batch, heads, queries, size), ir.F32Type.get())
    scale = {"scale": ir.FloatAttr.get(ir.F64Type.get(), scores.scale)}
    layer = build.create("sparsec.attention", [result], [build.to_builtin(each) for each in operands], scale)
    value = build.from_builtin(layer, tensor_type((batch, heads, queries, size), "f32", op.context))
    if scores.guarded and scores.mask is not None:
        value = _zero_where_masked(value, operands[-1], build)
    shape = tuple(ir.RankedTensorType(op.results[0].type).shape)
    replace(op, [build.to_builtin(_viewed(value, shape, build))])


def _zero_where_masked(value: ir.Value, mask: ir.Value, build: TorchBuilder) -> ir.Value:
    """Results, but zeros where a mask [batch, heads, queries, keys] is minus infinity for all keys."""
    shape = tensor_shape(mask) or ()
    f64 = ir.FloatAttr.get(ir.F64Type.get(), -math.inf)
    lowest = build.create("torch.constant.float", [ir.Type.parse("!torch.float")], attributes={"value": f64})
    masked = build.create("torch.aten.eq.Scalar", [tensor_type(shape, "i1", value.context)], [mask, lowest])
    row = tensor_type((*shape[:-1], 1), "i1", value.context)
    every = build.create("torch.aten.all.dim", [row], [masked, build.integer(-1), build.boolean(True)])
    zero = build.literal(np.zeros((), np.float32))
    return build.create("torch.aten.where.self", [value.type], [every, zero, value])


def _viewed(value: ir.Value, shape: tuple[int, ...], build: TorchBuilder) -> ir.Value:
    return value if tensor_shape(value) == shape else build.view(value, shape)


def _turned(value: ir.Value, build: TorchBuilder) -> ir.Value:
    """The value with its last two axes changed for each other, as one transposition of what it may be transposed from."""
    shape = tensor_shape(value) or ()
    axes = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    turned, op = [shape[axis] for axis in axes], definition(value)
    if op is not None and op.name == "torch.aten.permute":
        moved = [axis % len(shape) for axis in integer_list(op.operands[1]) or ()]
        value, axes = op.operands[0], [moved[axis] for axis in axes]
    if axes == list(range(len(shape))):
        return value
    kind = tensor_type(turned, tensor_element(value) or "f32", value.context)
    return build.create("torch.aten.permute", [kind], [value, build.integers(axes)])
