"""lower_torch: everything that is still in the torch dialect goes to linalg on tensors; our layers pass through untouched.

Before:
    %r = torch.aten.relu %t : !torch.vtensor<[1,8],f32> -> !torch.vtensor<[1,8],f32>
After:
    %1 = linalg.generic {...} ins(%0 : tensor<1x8xf32>) outs(%e : tensor<1x8xf32>) { ... arith.select ... }
"""

from __future__ import annotations

from torch_mlir.passmanager import PassManager

from sparsec.ir.pipeline import run_pipeline
from sparsec.passes.unit import Unit

_UPSTREAM = "torch-backend-to-linalg-on-tensors-backend-pipeline"
_VERIFY = "torch-verify-linalg-on-tensors-backend-contract"  # would refuse our own ops
_FUSE = "func.func(linalg-generalize-named-ops,linalg-fuse-elementwise-ops,canonicalize,cse)"


def lower_torch(unit: Unit) -> None:
    """Run torch-mlir's own pipeline, then upstream element-wise fusion (twice: the first round exposes duplicates)."""
    with unit.module.context:
        expanded = str(PassManager.parse(f"builtin.module({_UPSTREAM})"))
    passes = expanded.removeprefix("builtin.module(").removesuffix(")").replace(f",{_VERIFY}", "")
    run_pipeline(unit.module, passes, what="lowering torch operators to linalg")
    run_pipeline(unit.module, f"{_FUSE},{_FUSE}", what="fusing element-wise operators")
