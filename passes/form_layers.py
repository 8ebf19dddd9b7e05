"""form_layers: torch-dialect contractions become `sparsec.conv`, `sparsec.linear` and `sparsec.matmul`.

Before:
    %y = torch.aten.linear %x, %w, %b : ...
After (%xt, %wt builtin tensors; the bias is an ordinary add, which `fuse_epilogue` puts back into the kernel):
    %0 = "sparsec.linear"(%xt, %wt) {layer = "fc1"} : (tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<8x4xf32>
    %1 = torch_c.from_builtin_tensor %0 : ...
    %y = torch.aten.add.Tensor %1, %b, %int1 : ...

Matched here because upstream lowering splits and broadcasts these ops (a 3-d x 2-d matmul becomes a batch of copies of the weight).
Whatever does not match (dynamic shapes, element types without kernels, transposed convolutions) stays and is lowered upstream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch_mlir import ir

from sparsec.formats.coo import Coo
from sparsec.ir.module import find, replace
from sparsec.ir.torch_values import (
    TorchBuilder,
    definition,
    integer_list,
    is_none,
    scalar,
    tensor_element,
    tensor_shape,
    weight_of,
)
from sparsec.ir.weights import weight_op, weight_types
from sparsec.passes.unit import Unit


def form_layers(unit: Unit) -> None:
    """Replace every contraction on static float32 tensors that our kernels can compute."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name in _FORMERS):
            if all(tensor_element(value) in ("f32", None) and _static(value) for value in (*op.operands, *op.results)):
                _FORMERS[op.name](op, unit)


def _static(value: ir.Value) -> bool:
    return not str(value.type).startswith("!torch.vtensor") or tensor_shape(value) is not None


def _convolution(op: ir.Operation, unit: Unit) -> None:
    x, w, bias, stride, padding, dilation, transposed, _, groups = op.operands
    strides, paddings, dilations = integer_list(stride), integer_list(padding), integer_list(dilation)
    if weight_of(w) is None or scalar(transposed) is not False or not (strides and dilations) or paddings is None:
        return
    axes = len(tensor_shape(x) or ()) - 2
    attributes = {
        "strides": ir.DenseI64ArrayAttr.get(_per_axis(strides, axes)),
        "dilations": ir.DenseI64ArrayAttr.get(_per_axis(dilations, axes)),
        "before": ir.DenseI64ArrayAttr.get(_per_axis(paddings, axes)),
        "after": ir.DenseI64ArrayAttr.get(_per_axis(paddings, axes)),
        "groups": ir.IntegerAttr.get(ir.IntegerType.get_signless(64), int(scalar(groups) or 1)),
    }
    filters = (tensor_shape(w) or ())[0]
    _finish(op, "sparsec.conv", x, w, attributes, None if is_none(bias) else bias, (1, filters, *[1] * axes))


def _per_axis(values: Sequence[int], axes: int) -> list[int]:
    """torch allows one number for all axes."""
    return list(values) if len(values) == axes else [values[0]] * axes


def _linear(op: ir.Operation, unit: Unit) -> None:
    x, w, bias = op.operands
    if weight_of(w) is not None:
        _finish(op, "sparsec.linear", x, w, {}, None if is_none(bias) else bias)


def _matmul(op: ir.Operation, unit: Unit) -> None:
    p, q = op.operands
    left, right = tensor_shape(p) or (), tensor_shape(q) or ()
    if len(right) == 2 and len(left) >= 1 and weight_of(q) is not None:
        _finish(op, "sparsec.linear", p, _transposed_weight(op, q, unit), {})
    elif len(left) >= 2 and len(right) >= 2 and (left[:-2] == right[:-2]) and weight_of(p) is None:
        q, attributes = _without_transpose(q)
        _finish(op, "sparsec.matmul", p, q, attributes)


def _addmm(op: ir.Operation, unit: Unit) -> None:
    bias, p, q, beta, alpha = op.operands
    if scalar(beta) == 1 and scalar(alpha) == 1 and weight_of(q) is not None:
        _finish(op, "sparsec.linear", p, _transposed_weight(op, q, unit), {}, bias)


_FORMERS: Mapping[str, Callable[[ir.Operation, Unit], None]] = {
    "torch.aten.convolution": _convolution,
    "torch.aten.linear": _linear,
    "torch.aten.mm": _matmul,
    "torch.aten.matmul": _matmul,
    "torch.aten.bmm": _matmul,
    "torch.aten.addmm": _addmm,
}


def _transposed_weight(op: ir.Operation, q: ir.Value, unit: Unit) -> ir.Value:
    """The weight behind `q` [inputs, outputs] as a new one [outputs, inputs]."""
    name = weight_of(q)
    assert name is not None
    weight = unit.weights[name]
    transposed = weight.transpose((1, 0)) if isinstance(weight, Coo) else weight.T
    fresh = unit.weights.add(f"{name}.T", transposed)
    tensor, vtensor = weight_types(transposed, op.context)
    return weight_op(fresh, tensor, vtensor, loc=op.location, ip=ir.InsertionPoint(op))


def _without_transpose(q: ir.Value) -> tuple[ir.Value, dict[str, ir.Attribute]]:
    """Look through a transpose of the last two axes: the kernel reads [..., j, k] as it is."""
    op = definition(q)
    if op is not None and op.name == "torch.aten.transpose.int":
        rank = len(tensor_shape(q) or ())
        axes = {int(axis) % rank for axis in (scalar(op.operands[1]), scalar(op.operands[2])) if axis is not None}
        if axes == {rank - 2, rank - 1}:
            return op.operands[0], {"transposed": ir.UnitAttr.get()}
    return q, {}


def _finish(
    op: ir.Operation,
    name: str,
    x: ir.Value,
    w: ir.Value,
    attributes: Mapping[str, ir.Attribute],
    bias: ir.Value | None = None,
    bias_shape: Sequence[int] | None = None,
) -> None:
    """Replace `op` by the layer `name` and an add of the bias, viewed as `bias_shape`."""
    build = TorchBuilder(op)
    result = op.results[0]
    builtin = ir.RankedTensorType.get(tensor_shape(result) or (), ir.F32Type.get())
    layer = build.create(name, [builtin], [build.to_builtin(x), build.to_builtin(w)], attributes)
    value = build.from_builtin(layer, result.type)
    if bias is not None:
        value = build.add(value, build.view(bias, bias_shape) if bias_shape else bias, result.type)
    replace(op, [value])
