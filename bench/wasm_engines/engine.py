"""What an engine of WebAssembly is, to those who want a package run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


class Engine(Protocol):
    """Runs a package once."""

    def missing(self) -> str | None:
        """Why it cannot run here, and what brings it; None if it can."""
        ...

    def run(self, package: Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name, flat, for the inputs by name. Raises `EngineError`."""
        ...


class EngineError(Exception):
    """An engine said no; with what it printed."""
