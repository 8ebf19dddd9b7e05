"""`python -m bench wasm`: layers and networks compiled to WebAssembly, against ONNX Runtime Web in one Node process, one thread.

Rounds alternate between the engines, so that disturbances meet all of them. The ratio is the median over rounds of CPU
times, which hold nothing that other processes did; wall times are reported, too.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench.sparse_zoo import cache_folder, feeds_of
from bench.wasm_cells import Cell, cells
from bench.wasm_engines.node import Node, command
from bench.wasm_results import put_rows
from sparsec.errors import UsageError

RESULTS = Path(__file__).parent / "results" / "wasm.json"
TARGETS = ("wasm32", "wasm32-relaxed")
PEER = "peer"
SCRIPT = Path(__file__).with_name("wasm_race.mjs")
LIMIT = 600  # seconds


@dataclass(frozen=True, slots=True)
class Row:
    """Milliseconds are medians of wall and of CPU time; `ratio` is the peer's CPU time by ours; `error` is relative to the
    largest output. `bytes` are those of the module with its weights, which take `weight_bytes` in their formats.
    """

    cell: str
    target: str
    goal: float
    milliseconds: float
    cpu_milliseconds: float
    peer_milliseconds: float
    peer_cpu_milliseconds: float
    ratio: float
    p10: float
    p90: float
    error: float
    bytes: int
    weight_bytes: int
    node: str
    peer: str


def run(pattern: str, seconds: float, json_file: Path) -> int:
    """Race the cells whose names contain `pattern`, print a line for each, and put them into `json_file`."""
    node, peer = _node(), _peer()
    chosen = [cell for cell in cells() if pattern in cell.name]
    if not chosen:
        raise UsageError("There is no such cell.", expected="; ".join(cell.name for cell in cells()), got=pattern)
    rows: list[Row] = []
    for cell in chosen:
        for row in _race(cell, node, peer, seconds):
            rows.append(row)
            print(
                f"{row.cell:40} {row.target:15} {row.cpu_milliseconds:8.3f} ms  {row.peer}: {row.peer_cpu_milliseconds:8.3f} ms  "
                f"{row.ratio:5.2f}x ({row.p10:.2f} to {row.p90:.2f}; goal {row.goal:g})  {row.bytes / 1e6:.2f} MB  "
                f"error {row.error:.1e}",
                flush=True,
            )
    put_rows(json_file, [asdict(row) for row in rows], "cell", [cell.name for cell in cells()])
    return 0 if all(row.ratio >= row.goal for row in rows) else 1


def _node() -> list[str]:
    missing = Node().missing()
    if missing is not None:
        raise UsageError("Node cannot run here.", got=missing)
    return command()


def _peer() -> Path:
    folder = cache_folder() / "web"
    if not (folder / "node_modules" / "onnxruntime-web").exists():
        raise UsageError(
            "ONNX Runtime Web is not installed.", next_step=f"npm install --prefix {folder} onnxruntime-web"
        )
    return folder


def _race(cell: Cell, node: list[str], peer: Path, seconds: float) -> list[Row]:
    """A row per target."""
    from sparsec.driver import compile_wasm
    from sparsec.options import Options
    from sparsec.web.package import package_files
    from sparsec.whole_file import write_files

    model = cell.model()
    with tempfile.TemporaryDirectory() as scratch:
        folders, sizes = {}, {}
        for target in TARGETS:
            plan, module = compile_wasm(model, Options(target, use_measurements=False))
            folders[target] = Path(scratch) / target
            write_files(folders[target], package_files(plan, module, weights_inside=True))
            sizes[target] = len(module), plan.weights.nbytes
        packages = {target: str(folder) for target, folder in folders.items()}
        config = {"peer": str(peer), "model": str(model), "packages": packages, "seconds": seconds}
        file = Path(scratch) / "config.json"
        file.write_text(json.dumps({**config, "feeds": write_feeds(model, Path(scratch))}))
        done = subprocess.run([*node, SCRIPT, file], capture_output=True, text=True, check=False, timeout=LIMIT)
    if done.returncode:
        raise UsageError("The race failed.", where=cell.name, got=done.stderr.strip()[-2000:])
    found = json.loads(done.stdout)
    return [_row(cell, target, found, *sizes[target]) for target in TARGETS]


def write_feeds(model: Path, folder: Path) -> dict[str, str]:
    """Random inputs of the model, each as the raw bytes of a file in `folder`; the files by input name."""
    files = {}
    for number, (name, values) in enumerate(feeds_of(model).items()):
        files[name] = str(folder / f"feed-{number}.bin")
        Path(files[name]).write_bytes(values.tobytes())
    return files


def _row(cell: Cell, target: str, found: Mapping[str, object], size: int, weight_bytes: int) -> Row:
    rows = found["rows"]
    assert isinstance(rows, dict)
    ours, theirs = rows[target], rows[PEER]
    ratios = np.array(theirs["cpu"]) / np.maximum(np.array(ours["cpu"]), 1e-9)
    p10, median, p90 = np.percentile(ratios, [10, 50, 90])
    return Row(
        cell.name,
        target,
        cell.goal,
        _median(ours["wall"]),
        _median(ours["cpu"]),
        _median(theirs["wall"]),
        _median(theirs["cpu"]),
        round(float(median), 3),
        round(float(p10), 3),
        round(float(p90), 3),
        float(ours["error"]),
        size,
        weight_bytes,
        str(found["node"]),
        str(found["peer"]),
    )


def _median(times: list[float]) -> float:
    return round(float(np.median(times)), 4)
