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

from collections.abc import Mapping

from torch_mlir import ir

from sparsec.formats.coo import Coo
from sparsec.ir.module import find, replace
from sparsec.ir.torch_values import TorchBuilder, definition, scalar, tensor_element, tensor_shape, weight_of
from sparsec.passes.contraction import CONTRACTIONS, FLOAT32_BECAUSE, Contraction, contraction_of, contradiction
from sparsec.passes.unit import Unit


def form_layers(unit: Unit) -> None:
    """Replace every contraction on static float32 tensors that our kernels can compute."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name in (*CONTRACTIONS, "torch.aten.bmm")):
            if not all(
                tensor_element(value) in ("f32", None) and _static(value) for value in (*op.operands, *op.results)
            ):
                continue
            contraction = contraction_of(op)
            if contraction is not None and weight_of(contraction.w) is not None:
                _form(contraction, unit)
            elif op.name in _PRODUCTS:
                _form_product(op)


_PRODUCTS = ("torch.aten.mm", "torch.aten.matmul", "torch.aten.bmm")


def _static(value: ir.Value) -> bool:
    return not str(value.type).startswith("!torch.vtensor") or tensor_shape(value) is not None


def _form(contraction: Contraction, unit: Unit) -> None:
    """The layer of a weight, and an add of the bias."""
    op, w = contraction.op, contraction.w
    build = TorchBuilder(op)
    value = _layer(
        op,
        contraction.name,
        contraction.x,
        _transposed(op, w, unit) if contraction.transposed else w,
        contraction.attributes,
    )
    bias, shape = contraction.bias, contraction.bias_shape
    if bias is not None:
        value = build.add(value, build.view(bias, shape) if shape else bias, op.results[0].type)
    replace(op, [value])


def _transposed(op: ir.Operation, q: ir.Value, unit: Unit) -> ir.Value:
    """The weight behind `q` [inputs, outputs] as a new one [outputs, inputs]."""
    name = weight_of(q)
    assert name is not None
    weight = unit.weights[name]
    transposed = weight.transpose((1, 0)) if isinstance(weight, Coo) else weight.T
    return TorchBuilder(op).weight(unit.weights, f"{name}.T", transposed)


def _form_product(op: ir.Operation) -> None:
    """The layer of two activations with equal batch axes, that have elements."""
    p, q = op.operands
    left, right = tensor_shape(p) or (), tensor_shape(q) or ()
    if 0 in (*left, *right):
        return
    if len(left) >= 2 and len(right) >= 2 and (left[:-2] == right[:-2]) and weight_of(p) is None:
        if left[-1] != right[-2]:
            raise contradiction(op, f"{left[-1]} rows of the second matrix", left, right)
        q, attributes = _without_transpose(q)
        replace(op, [_layer(op, "sparsec.matmul", p, q, attributes)])


def _without_transpose(q: ir.Value) -> tuple[ir.Value, dict[str, ir.Attribute]]:
    """Look through a transpose of the last two axes: the kernel reads [..., j, k] as it is."""
    op = definition(q)
    if op is not None and op.name == "torch.aten.transpose.int":
        rank = len(tensor_shape(q) or ())
        axes = {int(axis) % rank for axis in (scalar(op.operands[1]), scalar(op.operands[2])) if axis is not None}
        if axes == {rank - 2, rank - 1}:
            return op.operands[0], {"transposed": ir.UnitAttr.get()}
    return q, {}


def _layer(op: ir.Operation, name: str, x: ir.Value, w: ir.Value, attributes: Mapping[str, ir.Attribute]) -> ir.Value:
    """The layer `name` in the place of `op`, as a torch value."""
    build = TorchBuilder(op)
    result = op.results[0]
    if FLOAT32_BECAUSE in op.attributes:
        attributes = {**attributes, FLOAT32_BECAUSE: op.attributes[FLOAT32_BECAUSE]}
    builtin = ir.RankedTensorType.get(tensor_shape(result) or (), ir.F32Type.get())
    layer = build.create(name, [builtin], [build.to_builtin(x), build.to_builtin(w)], attributes)
    return build.from_builtin(layer, result.type)
