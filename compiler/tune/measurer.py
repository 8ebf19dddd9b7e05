"""What the search needs of a machine. A remote device would be another implementation, a learned model none at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sparsec.tune.task import Task


@dataclass(frozen=True, slots=True)
class Measurement:
    """One kernel on one layer: median over `rounds` rounds and interquartile range, in ns per run; or what is wrong with it."""

    kernel: str
    median_ns: float | None
    spread_ns: float
    rounds: int
    fault: str | None = None


class Measurer(Protocol):
    """A machine that compiles, checks and times kernels."""

    @property
    def machine(self) -> str:
        """Which machine it is, in the database."""

    def measure(self, task: Task, kernels: Sequence[str], seconds: float) -> list[Measurement]:
        """Measure `kernels` against each other on one layer, for about `seconds` in all beside compiling them."""
