"""`python -m bench wasm --threads`: what a second thread, and a fourth, ... save in Node; and that outputs stay the same.

Rounds alternate between the numbers of threads. Times are of the clock: a machine that does something else meanwhile takes
a thread's processor away, and then all wait for it; the fastest round is the best guess of a quiet machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench.wasm import LIMIT, write_feeds
from bench.wasm_cells import Cell, cells
from bench.wasm_engines.node import Node, command
from bench.wasm_results import put_rows
from sparsec.errors import UsageError

RESULTS = Path(__file__).parent / "results" / "wasm_threads.json"
TARGET = "wasm32-threads"
SCRIPT = Path(__file__).with_suffix(".mjs")
CELLS = (
    "linear 1024x1024x128 unstructured 0",
    "linear 1024x1024x128 unstructured 0.9",
    "mobilenet-v2 90 % unstructured",
)


@dataclass(frozen=True, slots=True)
class Row:
    """Milliseconds with so many threads, of the median and the fastest round; `speedup` and `best` are one thread's by them."""

    cell: str
    threads: int
    milliseconds: float
    fastest: float
    speedup: float
    best: float
    same: bool
    node: str


def run(pattern: str, seconds: float, json_file: Path) -> int:
    """Time the cells whose names contain `pattern`, print a line for each number of threads, and put them into `json_file`."""
    if (missing := Node().missing()) is not None:
        raise UsageError("Node cannot run here.", got=missing)
    chosen = [cell for cell in cells() if cell.name in CELLS and pattern in cell.name]
    if not chosen:
        raise UsageError("There is no such cell.", expected="; ".join(CELLS), got=pattern)
    rows: list[Row] = []
    for cell in chosen:
        for row in rows_of(cell.name, _measure(cell, _counts(), seconds)):
            rows.append(row)
            print(
                f"{row.cell:40} {row.threads} threads {row.milliseconds:8.3f} ms (fastest {row.fastest:.3f})  "
                f"{row.speedup:.2f}x (best {row.best:.2f}x){'' if row.same else '  outputs differ'}",
                flush=True,
            )
    put_rows(json_file, [asdict(row) for row in rows], "cell", CELLS)
    return 0 if all(row.same for row in rows) else 1


def rows_of(cell: str, found: Mapping[str, object]) -> list[Row]:
    """What the script printed, as rows; the first number of threads is what the others are compared with."""
    measured = found["rows"]
    assert isinstance(measured, dict)
    times = {count: (min(facts["wall"]), float(np.median(facts["wall"]))) for count, facts in measured.items()}
    first, median = next(iter(times.values()))
    return [
        Row(
            cell,
            int(count),
            round(middle, 4),
            round(fastest, 4),
            round(median / middle, 3),
            round(first / fastest, 3),
            bool(measured[count]["same"]),
            str(found["node"]),
        )
        for count, (fastest, middle) in times.items()
    ]


def _counts() -> list[int]:
    """1, 2, 4, ... up to what the machine has."""
    return [1 << power for power in range(len(os.sched_getaffinity(0)).bit_length())]


def _measure(cell: Cell, threads: Sequence[int], seconds: float) -> Mapping[str, object]:
    from sparsec.driver import compile_wasm
    from sparsec.options import Options
    from sparsec.web.package import package_files
    from sparsec.whole_file import write_files

    model = cell.model()
    with tempfile.TemporaryDirectory() as scratch:
        plan, module = compile_wasm(model, Options(TARGET, use_measurements=False))
        write_files(Path(scratch) / "package", package_files(plan, module, weights_inside=True))
        config = {"package": str(Path(scratch) / "package"), "threads": list(threads), "seconds": seconds}
        file = Path(scratch) / "config.json"
        file.write_text(json.dumps({**config, "feeds": write_feeds(model, Path(scratch))}))
        done = subprocess.run([*command(), SCRIPT, file], capture_output=True, text=True, check=False, timeout=LIMIT)
    if done.returncode:
        raise UsageError("Node failed.", where=cell.name, got=done.stderr.strip()[-2000:])
    found: Mapping[str, object] = json.loads(done.stdout)
    return found
