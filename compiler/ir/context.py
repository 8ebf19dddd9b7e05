"""Making an MLIR context in which modules of ours parse."""

from __future__ import annotations

import sys
from types import ModuleType

from torch_mlir import ir
from torch_mlir.dialects import torch as torch_dialect
from torch_mlir.passmanager import PassManager

from sparsec.ir.dialect import Sparsec

# `torch_c` cannot be registered from Python; a pass that depends on it loads it.
_LOADS_TORCH_C = "builtin.module(torch-func-backend-type-conversion)"


# MLIR looks for a Python module of each dialect whenever it meets an op of it, and does not remember that there is none: 17,000
# failed imports in one network. Any module under that name ends the search.
for _name in ("sparsec", "torch_c"):
    sys.modules.setdefault(f"torch_mlir.dialects.{_name}", ModuleType(_name))


def make_context() -> ir.Context:
    """A context with the torch, torch_c, sparsec and all upstream dialects, single-threaded.

    Passes and traits written in Python need the interpreter lock, which a pool of MLIR threads would wait for forever.
    """
    context = ir.Context()
    context.enable_multithreading(False)
    torch_dialect.register_dialect(context)
    with context, ir.Location.unknown():
        PassManager.parse(_LOADS_TORCH_C).run(ir.Module.create().operation)
        Sparsec.load()
    return context
