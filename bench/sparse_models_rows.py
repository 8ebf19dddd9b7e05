"""What was found out about one pruned network, and the file that keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self, cast

from bench.peers.race import Timing, timings_of
from bench.spmm_rows import OURS


@dataclass(frozen=True, slots=True)
class ModelCell:
    """One network in one form; `pattern` is blocks of "RxC", "unstructured", or "trained" with the zeros that it came with."""

    network: str
    batch: int
    pattern: str
    sparsity: float
    precision: str
    threads: int

    def __str__(self) -> str:
        words = f"{self.network} b{self.batch} {self.precision} {self.pattern} {100 * self.sparsity:.0f} %"
        return words if self.threads == 1 else f"{words}, {self.threads} threads"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One cell. `timings` has ours first, under `OURS`; `errors` are the largest, relative to the largest value of the output.

    `weights` says where they come from, `zeros` is the share in prunable layers. `failed` are engines that could not run
    it or were wrong, with the reason, ours among them.
    """

    cell: ModelCell
    weights: str
    zeros: float
    layers: int
    sparse_layers: int
    compile_seconds: float
    rounds: int
    settled: bool
    idle: float
    timings: Mapping[str, Timing]
    errors: Mapping[str, float]
    failed: Mapping[str, str]
    absent: Mapping[str, str]
    revision: str | None
    date: str

    @property
    def complete(self) -> bool:
        """Whether nobody was missing and the spread is narrow."""
        return self.settled and not self.absent and OURS not in self.failed

    def as_dict(self) -> dict[str, object]:
        """JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, object]) -> Self:
        """The inverse of `as_dict`, also after a detour through JSON."""
        changed = {
            "cell": ModelCell(**cast("dict[str, int]", facts["cell"])),  # type: ignore[arg-type]
            "timings": timings_of(facts["timings"]),
        }
        return cls(**{**facts, **changed})  # type: ignore[arg-type]


def read_rows(path: Path) -> dict[ModelCell, ModelRow]:
    """The rows of a file by cell; none if there is no file."""
    if not path.exists():
        return {}
    rows = (ModelRow.from_dict(facts) for facts in json.loads(path.read_text())["cells"])
    return {row.cell: row for row in rows}


def write_rows(path: Path, circumstances: Mapping[str, object], rows: Iterable[ModelRow]) -> None:
    """Replace the file: one cell per line, so that versions can be compared."""
    cells = ",\n  ".join(json.dumps(_rounded(row.as_dict())) for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_suffix(".tmp")
    whole.write_text(f'{json.dumps(circumstances, indent=1)[:-2]},\n "cells": [\n  {cells}\n ]\n}}\n')
    whole.replace(path)


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value
