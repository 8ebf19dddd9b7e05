"""own_destinations: every op on tensors writes to a tensor of its own, so that buffers are not shared by values of different kinds.

Before:
    %e = tensor.empty() : tensor<4x8xf32>
    %a = linalg.generic ... outs(%e)   %b = linalg.generic ... outs(%e)
After:
    %e = tensor.empty() : tensor<4x8xf32>   %f = tensor.empty() : tensor<4x8xf32>
    %a = linalg.generic ... outs(%e)   %b = linalg.generic ... outs(%f)

Ops that only fill a tensor are repeated for each reader, too: else what starts as zeros would be copied. Which values share bytes
is for `plan_memory` to say, which sees how long each is needed.
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.module import find
from sparsec.passes.unit import Unit


def own_destinations(unit: Unit) -> None:
    """Repeat what makes destinations, fills before the empty tensors that they fill."""
    with unit.module.context, ir.Location.unknown():
        for wanted in (_fills, _is_empty):
            for op in find(unit.module, wanted):
                _repeat(op)


def _repeat(op: ir.Operation) -> None:
    """One for each use but the first."""
    for use in list(op.results[0].uses)[1:]:
        user, position = use.owner.operation, use.operand_number
        with op.location:
            user.operands[position] = op.clone(ip=ir.InsertionPoint(_top(user, op.block))).operation.results[0]


def _top(op: ir.Operation, block: ir.Block) -> ir.Operation:
    """The op of a block in which an op is."""
    while op.block != block:
        op = op.parent.operation
    return op


def _is_empty(op: ir.Operation) -> bool:
    return bool(op.name == "tensor.empty")


def _fills(op: ir.Operation) -> bool:
    """True for a generic or fill that reads no tensor."""
    if op.name == "linalg.fill":
        return True
    return op.name == "linalg.generic" and len(op.operands) == 1 and len(op.results) == 1
