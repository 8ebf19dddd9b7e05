"""hold_tails: what follows a layer element by element stays apart from what moves its results, so that it fits into the kernel.

Before (heads of attention):
    %y = torch.aten.add.Tensor %product, %bias   %v = torch.aten.view %y, [128, 12, 64]   %t = torch.aten.transpose.int %v, 0, 1
After:
    %y = torch.aten.add.Tensor %product, %bias   %h = "sparsec.held"(%y)   %v = torch.aten.view %h, ...   %t = ...

Upstream fuses a transposition with whatever element-wise op is before it, and no kernel stores transposed results: it would store
bare sums. `release_tails` takes the op away when that is done.
"""

from __future__ import annotations

from collections.abc import Collection

from torch_mlir import ir

from sparsec.ir.dialect import LAYERS
from sparsec.ir.module import find, replace, users
from sparsec.ir.torch_values import TorchBuilder, definition, tensor_element, tensor_shape
from sparsec.ir.weights import TO_TORCH_OP
from sparsec.passes.fold_constants import MOVES
from sparsec.passes.quantised_values import CAST
from sparsec.passes.unit import Unit

HELD = "sparsec.held"
TURNS = ("torch.aten.transpose.int", "torch.aten.permute", "torch.aten.t")
_ELEMENTWISE = (
    CAST,
    *(
        f"torch.aten.{name}"
        for name in (
            *("add.Tensor", "sub.Tensor", "mul.Tensor", "div.Tensor", "add.Scalar", "sub.Scalar", "mul.Scalar"),
            *(
                "div.Scalar",
                "round",
                "clamp",
                "clamp.Tensor",
                "maximum",
                "minimum",
                "relu",
                "gelu",
                "sigmoid",
                "tanh",
                "neg",
            ),
        )
    ),
)


def hold_tails(unit: Unit, readers: Collection[str] = TURNS) -> None:
    """Hold the results of layers, with their tails, that are turned then, or whatever else `readers` do with them."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name in readers):
            reader, value = op, op.operands[0]
            while (move := definition(value)) is not None and move.name in MOVES:
                reader, value = move, move.operands[0]
            known = tensor_shape(value) is not None and tensor_element(value) in ("f32", "ui8", "si8", "si32")
            if known and _is_tail(value):
                _hold(value, reader)


def _is_tail(value: ir.Value) -> bool:
    """True if element-wise ops lead from a layer to `value`, and nothing else reads what lies between."""
    op = definition(value)
    if op is None or op.name not in _ELEMENTWISE:
        return False
    alone = [operand for operand in op.operands if len(users(operand)) == 1]
    return any(_is_layer(operand) or _is_tail(operand) for operand in alone)


def _is_layer(value: ir.Value) -> bool:
    op = definition(value)
    source = definition(op.operands[0]) if op is not None and op.name == TO_TORCH_OP else None
    return source is not None and source.name in LAYERS


def _hold(value: ir.Value, reader: ir.Operation) -> None:
    build = TorchBuilder(reader)
    builtin = build.to_builtin(value)
    held = build.create(HELD, [builtin.type], [builtin])
    reader.operands[0] = build.from_builtin(held, value.type)


def release_tails(unit: Unit) -> None:
    """Take the holds away."""
    for op in find(unit.module, lambda op: op.name == HELD):
        replace(op, [op.operands[0]])
