"""`python -m bench arm`: networks by instructions executed, inner loops by predicted cycles; both as JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.arm import board, emulator, loops, networks
from sparsec.errors import UsageError

RESULTS = Path(__file__).parents[1] / "results" / "arm.json"


def run(pattern: str, json_file: Path, folder: Path | None) -> int:
    """Count the networks whose names contain `pattern`, or carry them to `folder`; returns 1 if one is wrong or misses its goal."""
    if (why := emulator.missing()) is not None:
        raise UsageError("ARM cannot be emulated here.", got=why)
    cells = [cell for cell in networks.CELLS if pattern in str(cell)]
    if not cells:
        raise UsageError("There is no such network.", expected="; ".join(map(str, networks.CELLS)), got=pattern)
    with tempfile.TemporaryDirectory() as scratch:
        runner = emulator.build_runner(Path(scratch))
        if folder is not None:
            board.carry(folder, cells, runner)
            print(f"on the board, in a copy of {folder}: sh run.sh")
            return 0
        counter = emulator.build_counter(Path(scratch))
        found, faults = [], 0
        for cell in cells:
            rows = _told(cell, runner, counter)
            faults += sum(row.error > cell.least_error or (row.goal or row.ratio) < row.ratio for row in rows)
            found += rows
            _keep(json_file, "networks", found)
    if not pattern:
        _keep(json_file, "loops", list(_loops()))
    return 1 if faults else 0


def _keep(json_file: Path, part: str, rows: Sequence[networks.NetworkRow | loops.LoopRow]) -> None:
    """Put the rows into the file, where they replace those of the same name and processor."""
    kept: dict[str, list[dict[str, object]]] = json.loads(json_file.read_text()) if json_file.exists() else {}
    new = [asdict(row) for row in rows]
    named = [list(row.values())[:2] for row in new]
    kept[part] = [*(row for row in kept.get(part, []) if list(row.values())[:2] not in named), *new]
    json_file.write_text(json.dumps(kept, indent=1) + "\n")


def _told(cell: networks.NetworkCell, runner: Path, counter: Path) -> list[networks.NetworkRow]:
    rows = []
    for row in networks.measure(cell, runner, counter):
        goal = "" if row.goal is None else f" (goal {row.goal:g})"
        print(
            f"{row.network:44} {row.target:16} {row.instructions / 1e6:8.1f} M instructions, dense {row.dense_instructions / 1e6:8.1f} M: "
            f"{row.ratio:.3f}{goal}; {row.sparse_layers} of {row.layers} layers sparse; error {row.error:.1e}",
            flush=True,
        )
        rows.append(row)
    return rows


def _loops() -> list[loops.LoopRow]:
    if (why := loops.missing()) is not None:
        print(f"inner loops are not analysed: {why}")
        return []
    rows = []
    for row in loops.measure():
        print(
            f"{row.loop:40} {row.processor:12} {row.cycles:7.2f} cycles for {row.products:3} multiply-adds: "
            f"{row.products_per_cycle:.2f} a cycle, {row.loads:.2f} loads each",
            flush=True,
        )
        rows.append(row)
    return rows
