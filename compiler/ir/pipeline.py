"""Runs upstream MLIR pass pipelines, with their diagnostics turned into our errors."""

from __future__ import annotations

import tempfile

from torch_mlir import ir
from torch_mlir.passmanager import PassManager

from sparsec.errors import ToolchainError


def run_pipeline(module: ir.Module, pipeline: str, *, what: str, verify_each: bool = True) -> None:
    """Run `pipeline` (the text between the parentheses of `builtin.module(...)`) on `module` in place.

    The module is verified after each pass, or only after the last, which takes half of the time.
    Raises ToolchainError that says `what` was being done, the first diagnostic, and how to reproduce it.
    """
    try:
        with module.context:
            passes = PassManager.parse(f"builtin.module({pipeline})")
            passes.enable_verifier(verify_each)
            passes.run(module.operation)
            if not verify_each:
                module.operation.verify()
    except ir.MLIRError as error:
        first = error.error_diagnostics[0] if error.error_diagnostics else None
        raise ToolchainError(
            f"MLIR failed while {what}",
            where=_name(first.location) if first else None,
            got=first.message if first else str(error),
            next_step=f"reproduce with: sparsec opt --pipeline '{pipeline}' {_write_input(module)}",
        ) from error


def _name(location: ir.Location) -> str:
    return str(location).removeprefix("loc(").removesuffix(")").strip('"')


def _write_input(module: ir.Module) -> str:
    with tempfile.NamedTemporaryFile("w", suffix=".mlir", prefix="sparsec-", delete=False) as file:
        file.write(module.operation.get_asm(enable_debug_info=True, assume_verified=True))
        return file.name
