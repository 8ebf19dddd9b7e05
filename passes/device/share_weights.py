"""share_weights: a batch of products with one weight is a linear layer.

Before:
    %q = torch.aten.broadcast_to %w, [2, 64, 8]   %y = torch.aten.bmm %x, %q : [2,16,64], [2,64,8] -> [2,16,8]
After:
    %y = torch.aten.matmul %x, %w : [2,16,64], [64,8] -> [2,16,8]

Exported torch programs multiply so where the tokens of x are not side by side in memory.
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.module import find, replace
from sparsec.ir.torch_values import TorchBuilder, definition, tensor_shape, weight_of
from sparsec.passes.unit import Unit

_REPEATS = ("torch.aten.broadcast_to", "torch.aten.expand")
_VIEWS = ("torch.aten.view", "torch.aten._unsafe_view")


def share_weights(unit: Unit) -> None:
    """Replace products whose second operand repeats a matrix of weights."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == "torch.aten.bmm"):
            weight = _repeated(op.operands[1])
            if weight is not None:
                replace(
                    op, [TorchBuilder(op).create("torch.aten.matmul", [op.results[0].type], [op.operands[0], weight])]
                )


def _repeated(value: ir.Value) -> ir.Value | None:
    """The weight [inputs, outputs] that each matrix of a batch is."""
    op, shape = definition(value), tensor_shape(value) or ()
    if op is None:
        return None
    if op.name in _VIEWS:
        same = (tensor_shape(op.operands[0]) or ())[-2:] == shape[-2:]
        return _repeated(op.operands[0]) if same else None
    if op.name not in _REPEATS or weight_of(op.operands[0]) is None:
        return None
    return op.operands[0] if tensor_shape(op.operands[0]) == shape[-2:] else None
