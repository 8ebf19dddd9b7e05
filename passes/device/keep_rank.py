"""keep_rank: layers keep the axes of tokens, or of a batch, that were made one only to be taken apart again.

Before:
    %0 = tensor.collapse_shape %x [[0, 1], [2]] : tensor<2x16x64xf32> into tensor<32x64xf32>
    %1 = "sparsec.linear"(%0, %w) : (tensor<32x64xf32>, tensor<8x64xf32>) -> tensor<32x8xf32>
    %y = tensor.expand_shape %1 [[0, 1], [2]] output_shape [2, 16, 8] : tensor<32x8xf32> into tensor<2x16x8xf32>
After:
    %y = "sparsec.linear"(%x, %w) : (tensor<2x16x64xf32>, tensor<8x64xf32>) -> tensor<2x16x8xf32>

What follows element by element can then be fused into the layer, and heads of attention, which are not side by side in memory,
need not be copied. Of products of two activations, one operand must be such a reshape.
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.module import element_of, find, replace, shape_of, users
from sparsec.ir.pipeline import run_pipeline
from sparsec.passes.device.buffers import axis_groups
from sparsec.passes.unit import Unit

_KEPT = {"sparsec.linear": 1, "sparsec.matmul": 2}  # the last axes, which products are along


def keep_rank(unit: Unit) -> None:
    """Give every such layer the axes of its reader."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name in _KEPT):
            readers = users(op.results[0])
            if len(readers) == 1 and readers[0].name == "tensor.expand_shape" and _fits(op, readers[0]):
                with op.location:
                    _expand(op, readers[0])
    run_pipeline(unit.module, "func.func(canonicalize,cse)", what="removing reshapes of tokens")


def _fits(op: ir.Operation, expand: ir.Operation) -> bool:
    """True if the reader takes no axis apart that the product is along, and what is taken apart was one."""
    kept = _KEPT[op.name]
    groups = axis_groups(expand)
    if any(len(group) > 1 for group in groups[-kept:]):
        return False
    return op.name == "sparsec.linear" or any(_collapsed(operand, groups) for operand in op.operands)


def _collapsed(value: ir.Value, groups: list[list[int]]) -> bool:
    owner = value.owner
    return (
        not isinstance(owner, ir.Block)
        and owner.operation.name == "tensor.collapse_shape"
        and axis_groups(owner.operation) == groups
    )


def _expand(op: ir.Operation, expand: ir.Operation) -> None:
    """The layer on axes that are taken apart as its reader does."""
    kept = _KEPT[op.name]
    batch = shape_of(expand.results[0])[:-kept]
    ip = ir.InsertionPoint(op)
    first, second = op.operands
    operands = [_expanded(first, [*batch, *shape_of(first)[-kept:]], expand, ip)]
    operands.append(_expanded(second, [*batch, *shape_of(second)[-kept:]], expand, ip) if kept > 1 else second)
    attributes = {name: op.attributes[name] for name in op.attributes}
    layer = ir.Operation.create(
        op.name, results=[expand.results[0].type], operands=operands, attributes=attributes, ip=ip
    )
    replace(expand, [layer.results[0]])
    op.erase()


def _expanded(value: ir.Value, shape: list[int], expand: ir.Operation, ip: ir.InsertionPoint) -> ir.Value:
    """An operand taken apart as the result is."""
    attributes = {name: expand.attributes[name] for name in expand.attributes}
    attributes["static_output_shape"] = ir.DenseI64ArrayAttr.get(shape)
    kind = ir.RankedTensorType.get(shape, element_of(value))
    return ir.Operation.create(
        "tensor.expand_shape", results=[kind], operands=[value], attributes=attributes, ip=ip
    ).results[0]
