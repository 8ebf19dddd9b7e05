"""What the driver shows of its work for debugging: IR after passes, the report, the emitted code."""

from __future__ import annotations

import json
import sys

from torch_mlir import ir

from sparsec.environment import Environment
from sparsec.errors import ToolchainError, UsageError


class Trace:
    """Follows one compilation; silent unless the environment asks for something."""

    def __init__(self, environment: Environment) -> None:
        self._debug, self._dump = environment.debug, environment.dump
        self._count = 0
        self._last = ""
        if self._dump is not None:
            try:
                self._dump.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(
                    "The dump folder cannot be made.", where=str(self._dump), got=error.strerror
                ) from error

    def after(self, stage: str, module: ir.Module) -> None:
        """Verify the module that `stage` left, and show it; raises `ToolchainError` that names the stage."""
        self._verify(stage, module)
        number, self._count = self._count, self._count + 1
        if self._dump is None and self._debug < 2:
            return
        text = module.operation.get_asm(enable_debug_info=self._dump is not None, large_elements_limit=16)
        if self._dump is not None:
            (self._dump / f"{number:02}-{stage}.mlir").write_text(text)
        if self._debug >= 2 and text != self._last:
            print(f"// ---- after {stage} ----\n{text}", file=sys.stderr)
        self._last = text

    def report(self, report: object) -> None:
        """Show what was decided."""
        if self._debug >= 1:
            print(json.dumps(report, indent=1), file=sys.stderr)

    @property
    def wants_code(self) -> bool:
        """Whether to call `code`, for which assembly has to be made."""
        return self._debug >= 3

    def code(self, assembly: str) -> None:
        """Show the emitted code."""
        print(assembly, file=sys.stderr)

    def _verify(self, stage: str, module: ir.Module) -> None:
        try:
            module.operation.verify()
        except ir.MLIRError as error:
            first = error.error_diagnostics[0] if error.error_diagnostics else None
            raise ToolchainError(
                f"The pass {stage} left IR that is not valid; this is a bug of sparsec.",
                where=str(first.location) if first else None,
                got=first.message if first else str(error),
                next_step="report it with the output of SPARSEC_DUMP=folder",
            ) from error
