"""What was found out about one cell, and the file of JSON lines that keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self, cast

from bench.peers.race import Timing, timings_of
from bench.peers.table import DENSE
from bench.spmm_cells import Cell

OURS = "sparsec"


@dataclass(frozen=True, slots=True)
class Row:
    """One cell. `timings` has ours first, under `OURS`; `errors` are the largest errors, relative to the largest |Y|.

    `flops` are two per nonzero and column of X; `bytes` what must be moved at least: nonzeros with a 16-bit index each,
    X and Y in float32. `roof_gflops` is the roof for the pattern: of multiply-adds for blocks of several rows, else of those that
    load one operand each. `failed` are peers that could not run it, with the reason; `wrong` those with a wrong result.
    """

    cell: Cell
    nonzeros: int
    flops: int
    bytes: int
    format: str
    kernels: tuple[str, ...]
    reason: str
    predicted_ns: float
    compile_seconds: float
    rounds: int
    settled: bool
    idle: float
    roof_gflops: float
    timings: Mapping[str, Timing]
    errors: Mapping[str, float]
    failed: Mapping[str, str]

    @property
    def roof_share(self) -> float:
        """Our rate on the nonzeros as a share of the roof."""
        return self.flops / self.timings[OURS].median_ns / self.roof_gflops

    def best(self, *, dense: bool = False) -> str | None:
        """The fastest peer, or the fastest `dense` one; None if there is none."""
        names = [name for name in self.timings if name != OURS and (not dense or name in DENSE)]
        return min(names, key=lambda name: self.timings[name].ratio, default=None)

    def lead(self, *, dense: bool = False) -> float | None:
        """How many times as long as we the best peer, or the best `dense` one, takes."""
        best = self.best(dense=dense)
        return None if best is None else self.timings[best].ratio

    def as_dict(self) -> dict[str, object]:
        """JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, object]) -> Self:
        """The inverse of `as_dict`, also after a detour through JSON."""
        changed = {
            "cell": Cell(**cast("dict[str, int]", facts["cell"])),  # type: ignore[arg-type]
            "kernels": tuple(cast("list[str]", facts["kernels"])),
            "timings": timings_of(facts["timings"]),
        }
        return cls(**{**facts, **changed})  # type: ignore[arg-type]


def read_rows(path: Path) -> dict[Cell, Row]:
    """The rows of a file, the last of each cell; none if there is no file. A line that was cut short is left out."""
    rows: dict[Cell, Row] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            facts = json.loads(line)
        except json.JSONDecodeError:
            continue
        if "cell" in facts:
            row = Row.from_dict(facts)
            rows[row.cell] = row
    return rows


def append(path: Path, documents: Iterable[Mapping[str, object]]) -> None:
    """Add lines to the file, each whole, also behind one that was cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    with path.open("a") as file:
        file.write("\n" * cut + "".join(json.dumps(each) + "\n" for each in documents))
