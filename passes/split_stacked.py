"""split_stacked: a product with a stack of weights becomes a product with each of them.

Before (four experts of 14 inputs and 12 outputs):
    %y = torch.aten.matmul %x, %w : [2,4,18,14], [4,14,12] -> [2,4,18,12]
After, for each of the four:
    %x0 = torch.aten.slice.Tensor %x, 1, 0, 1, 1 : [2,1,18,14]
    %y0 = torch.aten.matmul %x0, %w0 : [2,1,18,14], [14,12] -> [2,1,18,12]
and
    %y = torch.aten.cat [%y0, %y1, %y2, %y3], 1

So each weight is a layer of its own, of which the zeros are known when compiling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch_mlir import ir

from sparsec.ir.module import find, replace
from sparsec.ir.torch_values import TorchBuilder, tensor_element, tensor_shape, tensor_type, weight_of
from sparsec.passes.unit import Unit

_MOST = 64  # weights in a stack: each is code of its own, and what has more is a product with a tensor that is constant


def split_stacked(unit: Unit) -> None:
    """Split every product of a static float32 tensor and a stored weight of more than two axes."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name in ("torch.aten.matmul", "torch.aten.bmm")):
            x, w = op.operands
            left, right, result = tensor_shape(x), tensor_shape(w), tensor_shape(op.results[0])
            if left is None or right is None or result is None or len(left) < 2 or len(right) < 3:
                continue
            stored = weight_of(w)
            if stored is None or not 0 < math.prod(right[:-2]) <= _MOST or {*map(tensor_element, (x, w))} != {"f32"}:
                continue
            weight = np.asarray(unit.weights.dense(stored), np.float32)
            weight = weight.reshape(*[1] * (len(result) - len(right)), *right)
            build = TorchBuilder(op)
            full = (*[1] * (len(result) - len(left)), *left)
            replace(op, [_product(build, x if full == left else build.view(x, full), weight, stored, unit)])


def _product(build: TorchBuilder, x: ir.Value, weight: np.ndarray, name: str, unit: Unit) -> ir.Value:
    """[..., m, k] times [..., k, n], of equal rank: the weights along the first axis that has several, one after another."""
    stacked = next((axis for axis, size in enumerate(weight.shape[:-2]) if size > 1), None)
    if stacked is None:
        return _single(build, x, weight.reshape(weight.shape[-2:]), name, unit)
    parts = []
    for number in range(weight.shape[stacked]):
        own = x if (tensor_shape(x) or ())[stacked] == 1 else build.slice(x, stacked, number, number + 1)
        parts.append(_product(build, own, weight.take([number], stacked), f"{name}/{number}", unit))
    return _joined(build, parts, stacked)


def _single(build: TorchBuilder, x: ir.Value, weight: np.ndarray, name: str, unit: Unit) -> ir.Value:
    w = build.weight(unit.weights, name, np.ascontiguousarray(weight))
    shape = (*(tensor_shape(x) or ())[:-1], weight.shape[1])
    return build.create("torch.aten.matmul", [tensor_type(shape, "f32", build.context)], [x, w])


def _joined(build: TorchBuilder, parts: Sequence[ir.Value], axis: int) -> ir.Value:
    shape = list(tensor_shape(parts[0]) or ())
    shape[axis] = len(parts)
    joined = build.create("torch.prim.ListConstruct", [ir.Type.parse("!torch.list<vtensor>", build.context)], parts)
    result = tensor_type(shape, "f32", build.context)
    return build.create("torch.aten.cat", [result], [joined, build.integer(axis)])
