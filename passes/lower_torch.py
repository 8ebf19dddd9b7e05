"""lower_torch: everything that is still in the torch dialect goes to linalg on tensors; our layers pass through untouched.

Before:
    %r = torch.aten.relu %t : !torch.vtensor<[1,8],f32> -> !torch.vtensor<[1,8],f32>
After:
    %1 = linalg.generic {...} ins(%0 : tensor<1x8xf32>) outs(%e : tensor<1x8xf32>) { ... arith.select ... }
"""

from __future__ import annotations

from torch_mlir import ir
from torch_mlir.passmanager import PassManager

from sparsec.errors import ToolchainError
from sparsec.ir.module import find, node_name
from sparsec.ir.pipeline import run_pipeline
from sparsec.passes.unit import Unit

_UPSTREAM = "torch-backend-to-linalg-on-tensors-backend-pipeline"
_VERIFY = "torch-verify-linalg-on-tensors-backend-contract"  # would refuse our own ops
_ABOUT_OPERATORS = ("torch.prim.ListConstruct", "torch.vtensor.literal")  # operands, of no node of the model
_FUSE = "func.func(linalg-generalize-named-ops,linalg-fuse-elementwise-ops,canonicalize,cse)"


def lower_torch(unit: Unit) -> None:
    """Run torch-mlir's own pipeline, then upstream element-wise fusion (twice: the first round exposes duplicates).

    Raises `ToolchainError` that names the operator that it does not lower.
    """
    with unit.module.context:
        expanded = str(PassManager.parse(f"builtin.module({_UPSTREAM})"))
    passes = expanded.removeprefix("builtin.module(").removesuffix(")").replace(f",{_VERIFY}", "")
    try:
        run_pipeline(unit.module, passes, what="lowering torch operators to linalg")
    except ToolchainError as error:
        raise _about_operator(unit.module, error) from error
    run_pipeline(unit.module, f"{_FUSE},{_FUSE}", what="fusing element-wise operators")
    _refuse_unimplemented(unit.module)


def _refuse_unimplemented(module: ir.Module) -> None:
    """Upstream leaves a check that always fails in the place of forms that it lacks: a network that compiles, and never runs."""
    for op in find(module, lambda op: op.name == "cf.assert"):
        message, condition = ir.StringAttr(op.attributes["msg"]).value, op.operands[0].owner
        fails = isinstance(condition, ir.Operation | ir.OpView) and condition.name == "arith.constant"
        if fails and "unimplemented" in message and not ir.BoolAttr(condition.attributes["value"]).value:
            raise ToolchainError("MLIR has no lowering of this form", where=node_name(op), got=message)


def _about_operator(module: ir.Module, error: ToolchainError) -> ToolchainError:
    """The failure, told of the first operator that is left where upstream complains of the constants that it reads."""
    left = find(module, lambda op: op.name.startswith("torch.") and "torch.constant" not in op.name)
    named = [op for op in left if op.name not in _ABOUT_OPERATORS]
    if "operation 'torch.constant." not in str(error.got) or not named:
        return error
    name = named[0].name if named[0].name != "torch.operator" else str(named[0].attributes["name"]).strip('"')
    return ToolchainError(
        error.what, where=node_name(named[0]), got=f"{name} has no lowering of this form", next_step=error.next_step
    )
