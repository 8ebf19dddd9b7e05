"""The one place that reads environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sparsec.errors import UsageError

DEBUG = "SPARSEC_DEBUG"
DUMP = "SPARSEC_DUMP"
CACHE = "XDG_CACHE_HOME"


@dataclass(frozen=True, slots=True)
class Environment:
    """What to show for debugging.

    `debug` is a ladder: 1 the report and tracebacks, 2 also the IR after each pass that changed it, 3 also the emitted
    assembly. `dump` is a folder for the IR after each pass, as `NN-pass.mlir`.
    """

    debug: int = 0
    dump: Path | None = None


def read_environment(variables: Mapping[str, str] = os.environ) -> Environment:
    """Read `SPARSEC_DEBUG` and `SPARSEC_DUMP`; raises `UsageError`."""
    text = variables.get(DEBUG, "").strip()
    if text not in ("", "0", "1", "2", "3"):
        raise UsageError(f"The environment variable {DEBUG} has no such level.", expected="0, 1, 2 or 3", got=text)
    folder = variables.get(DUMP, "")
    return Environment(int(text or 0), Path(folder) if folder else None)


def cache_folder(variables: Mapping[str, str] = os.environ) -> Path:
    """Where measurements are kept between runs: `$XDG_CACHE_HOME/sparsec`, or `~/.cache/sparsec`; it need not exist.

    For a user without a home it cannot: what asks for it finds nothing, and what writes to it says that it cannot.
    """
    bases = variables.get(CACHE, ""), os.path.expanduser("~/.cache"), os.devnull
    return next(Path(base) for base in bases if os.path.isabs(base)) / "sparsec"
