"""keep_rank: a linear layer whose tokens are counted along one axis, only to be taken apart again, keeps its axes.

Before:
    %0 = tensor.collapse_shape %x [[0, 1], [2]] : tensor<2x16x64xf32> into tensor<32x64xf32>
    %1 = "sparsec.linear"(%0, %w) : (tensor<32x64xf32>, tensor<8x64xf32>) -> tensor<32x8xf32>
    %y = tensor.expand_shape %1 [[0, 1], [2]] output_shape [2, 16, 8] : tensor<32x8xf32> into tensor<2x16x8xf32>
After:
    %y = "sparsec.linear"(%x, %w) : (tensor<2x16x64xf32>, tensor<8x64xf32>) -> tensor<2x16x8xf32>

What follows element by element can then be fused into the layer.
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.module import element_of, find, replace, shape_of, users
from sparsec.ir.pipeline import run_pipeline
from sparsec.passes.unit import Unit


def keep_rank(unit: Unit) -> None:
    """Give every such layer the axes of its reader."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == "sparsec.linear"):
            readers = users(op.results[0])
            if len(readers) == 1 and readers[0].name == "tensor.expand_shape" and _splits_tokens(readers[0]):
                with op.location:
                    _expand(op, readers[0])
    run_pipeline(unit.module, "func.func(canonicalize,cse)", what="removing reshapes of tokens")


def _splits_tokens(expand: ir.Operation) -> bool:
    """True if the last axis stays as it is."""
    before, after = shape_of(expand.operands[0]), shape_of(expand.results[0])
    groups = ir.ArrayAttr(expand.attributes["reassociation"])
    return before[-1] == after[-1] and len(ir.ArrayAttr(groups[len(groups) - 1])) == 1


def _expand(op: ir.Operation, expand: ir.Operation) -> None:
    """The layer on tokens that are taken apart as its reader does."""
    x, w = op.operands
    shape = [*shape_of(expand.results[0])[:-1], shape_of(x)[-1]]
    ip = ir.InsertionPoint(op)
    attributes = {name: expand.attributes[name] for name in expand.attributes}
    attributes["static_output_shape"] = ir.DenseI64ArrayAttr.get(shape)
    tokens = ir.Operation.create(
        "tensor.expand_shape",
        results=[ir.RankedTensorType.get(shape, element_of(x))],
        operands=[x],
        attributes=attributes,
        ip=ip,
    )
    kept = {name: op.attributes[name] for name in op.attributes}
    layer = ir.Operation.create(
        op.name, results=[expand.results[0].type], operands=[tokens.results[0], w], attributes=kept, ip=ip
    )
    replace(expand, [layer.results[0]])
    op.erase()
