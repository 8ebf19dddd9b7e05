"""`python -m bench spmm`: our whole compiled layer against every peer that is there, cell by cell of the public grid.

We and the engines for models get activations token by token, [N, K], and give [N, M] back; whatever we transpose is in our
time. Libraries for matrices get X [K, N] as they like it and give [M, N]: what a model would have to transpose for
them is not in theirs. To keep other processes away altogether, start it as `taskset -c 1 chrt -f 10 python -m bench spmm`.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

import sparsec
from bench.measure import one_processor
from bench.peers.int8_layer import int8_layer, product
from bench.peers.network import OPERATOR
from bench.peers.onnx_layer import onnx_layer
from bench.peers.peer import F32, Calls, Contestant, Engine, Layer, Peer
from bench.peers.race import Race, outputs_of, race, race_the_fit
from bench.peers.table import DENSE, PEERS, open_peers
from bench.roofs import Roofs, measure_roofs
from bench.spmm_cells import Cell, make_layer
from bench.spmm_rows import OURS, Row, append, read_rows
from bench.spmm_summary import summarise
from sparsec.cli.benchmark import machine
from sparsec.cli.console import duration
from sparsec.errors import SparsecError, UsageError
from sparsec.model import CompiledModel
from sparsec.verify import tolerance

WEIGHT_BYTES: Mapping[str, int] = {"fp32": 4, "bf16": 2, "int8": 1}
CHECKED = 64  # columns of the result: all columns of a large one take longer than all engines
INEXACT = 0.02  # of the largest value: what rounding to 8 bits of mantissa or of activations may do
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Bench:
    """What all cells of one run share."""

    engines: Mapping[str, Engine]
    roofs: Roofs
    seconds: float
    deadline: float


def run(
    cells: Sequence[Cell], peers: str, json_file: Path | None, seconds: float, *, minutes: float | None = None
) -> int:
    """Race every cell that the file does not have yet, keep the rows there, and print the summary of all.

    All cells are of one precision. After `minutes` no further cell is begun. Returns the exit code: 1 if our result was
    wrong anywhere.
    """
    deadline = time.monotonic() + 60 * minutes if minutes is not None else math.inf
    known = PEERS[cells[0].precision]
    asked = _names(peers, known)
    for variable in _ONE_THREAD:
        os.environ[variable] = "1"
    with one_processor():
        engines, absent = open_peers(tuple(peer for peer in known if peer.name in asked))
        for name, reason in absent.items():
            click.echo(f"absent: {name}: {reason}")
        bench = Bench(engines, measure_roofs(), seconds, deadline)
        kept = read_rows(json_file) if json_file is not None else {}
        try:
            found, refused = _run_all(bench, cells, kept, absent, json_file)
        finally:
            for engine in engines.values():
                engine.close()
    summarise([found[cell] for cell in cells if cell in found])
    faults = [f"{cell}: {found[cell].failed[OURS]}" for cell in cells if cell in found and OURS in found[cell].failed]
    faults += [f"{cell}: it does not compile" for cell in cells if cell in refused]
    for each in faults:
        click.echo(f"FAULT: {each}", err=True)
    return 1 if faults else 0


def _run_all(
    bench: Bench,
    cells: Sequence[Cell],
    kept: Mapping[Cell, Row],
    absent: Mapping[str, str],
    json_file: Path | None,
) -> tuple[dict[Cell, Row], list[Cell]]:
    """The rows of all cells, and the cells that we cannot compile; those never measured come before those with wide spread."""
    rows = dict(kept)
    left = [cell for cell in cells if cell not in kept or not _is_done(kept[cell], bench.engines)]
    left.sort(key=lambda cell: cell in kept)
    refused: list[Cell] = []
    if json_file is not None and left:
        append(json_file, [{"run": _circumstances(bench, absent)}])
    click.echo(f"{len(left)} cells to race, {len(cells) - len(left)} known already")
    for number, cell in enumerate(left, 1):
        if time.monotonic() > bench.deadline:
            click.echo(f"time is up: {len(left) - number + 1} cells are left; the same command goes on with them")
            break
        try:
            rows[cell] = row = race_cell(bench, cell)
        except KeyboardInterrupt:
            click.echo("interrupted: what was measured is kept", err=True)
            break
        except SparsecError as error:
            click.echo(f"{number:4}/{len(left)}  {cell}: {error}", err=True)
            refused.append(cell)
            continue
        if json_file is not None:
            append(json_file, [row.as_dict()])
        click.echo(f"{number:4}/{len(left)}  {row_line(row)}")
    return rows, refused


def race_cell(bench: Bench, cell: Cell) -> Row:
    """Compile the layer, let every peer prepare it, check all results and time them in turns."""
    layer = make_layer(cell)
    nonzeros = int(np.count_nonzero(layer.weight))
    start = time.perf_counter()
    model = _compile(cell, layer)
    compile_seconds = time.perf_counter() - start
    contestants: dict[str, Contestant[F32]] = {OURS: _ours(model, layer)}
    failed: dict[str, str] = {}
    for name, engine in bench.engines.items():
        try:
            contestants[name] = engine.enter(layer)
        except Exception as error:  # peers raise a dozen classes of their own
            failed[name] = str(error)
    errors = _check(contestants, cell, layer, failed)
    result = _race(contestants, failed, bench.seconds)
    for each in contestants.values():
        each.close()
    report = model.report.layers[0] if model.report.layers else None
    return Row(
        cell=cell,
        nonzeros=nonzeros,
        flops=2 * nonzeros * cell.n,
        bytes=(WEIGHT_BYTES[cell.precision] + 2) * nonzeros + 4 * (layer.x.size + cell.m * cell.n),
        format=report.format if report else "none",
        kernels=tuple(step.kernel for step in model.session.program.steps),
        reason=report.reason if report else "it is no layer of ours: upstream lowering took it",
        predicted_ns=report.predicted_ns if report else 0.0,
        compile_seconds=compile_seconds,
        rounds=result.rounds,
        settled=result.settled,
        idle=result.idle,
        roof_gflops=roof_of(cell, bench.roofs),
        timings=result.timings,
        errors=errors,
        failed=failed,
    )


def roof_of(cell: Cell, roofs: Roofs) -> float:
    """GFLOP/s: each vector of X that is loaded serves as many rows as a block has. In less than float32, of dot products."""
    if cell.precision != "fp32":
        found = [roof for roof in roofs.narrow if roof.name.startswith(cell.precision)]
        return found[0].median if found else math.nan
    rows, _, columns = cell.pattern.partition("x")
    return (roofs.fma if columns and int(rows) > 1 else roofs.load_fma).median


def row_line(row: Row) -> str:
    """One line for people."""
    ours = row.timings[OURS]
    spread = 50 * (ours.p90_ns - ours.p10_ns) / ours.median_ns
    time_and_share = f"{duration(ours.median_ns):>8} ±{spread:2.0f} %, {row.roof_share:4.0%} of roof"
    head = f"{row.cell!s:34} {row.format:7} {time_and_share}"
    parts = [
        f"{kind} {best} {duration(row.timings[best].median_ns)} {row.timings[best].ratio:.2f}x"
        for kind, best in (("best peer", row.best()), ("best dense", row.best(dense=True)))
        if best is not None
    ]
    parts += [f"{name} FAILED: {reason}" for name, reason in row.failed.items()]
    return "  ".join([head, *parts])


def _race(contestants: Mapping[str, Contestant[F32]], failed: dict[str, str], seconds: float) -> Race:
    """Race us and whoever has not failed."""
    return race_the_fit(
        contestants,
        OURS,
        failed,
        lambda fit: race(fit, seconds, fields=(fit.keys() - {OURS}, fit.keys() & DENSE)),
    )


def _compile(cell: Cell, layer: Layer) -> CompiledModel:
    """Our network of one layer: in int8 the operator form, from float32 to float32."""
    if cell.precision == "int8":
        return sparsec.compile(int8_layer(layer, OPERATOR), threads=1)
    return sparsec.compile(onnx_layer(layer), threads=1, precision="bf16" if cell.precision == "bf16" else "f32")


def _ours(model: CompiledModel, layer: Layer) -> Calls[F32]:
    """Runs on tensors that are checked once, as those of the engines that can bind theirs."""
    bound = model.session.bind({"x": layer.tokens})
    return Calls(bound, lambda: np.asarray(bound.outputs["y"], np.float32).T)


def _check(
    contestants: Mapping[str, Contestant[F32]], cell: Cell, layer: Layer, failed: dict[str, str]
) -> dict[str, float]:
    """Largest errors relative to the largest |Y|, over a sample of columns; adds to `failed` whoever is wrong or dies."""
    columns = np.unique(np.linspace(0, cell.n - 1, CHECKED).round().astype(np.intp))
    expected = (
        product(layer, columns) if cell.precision == "int8" else layer.weight.astype(np.float64) @ layer.x[:, columns]
    )
    scale = float(np.abs(expected).max(initial=0.0))
    errors = {}
    for name, found in outputs_of(contestants, failed):
        right_shape = found.shape == (cell.m, cell.n)
        largest = float(np.abs(found[:, columns] - expected).max(initial=0.0)) if right_shape else np.inf
        errors[name] = largest / scale if scale else largest
        # Whole numbers are exact; engines other than ours may round activations in another way.
        exact = cell.precision == "fp32" or (cell.precision == "int8" and name == OURS)
        if not largest <= (tolerance("float32", scale) if exact else INEXACT * scale):
            failed[name] = f"its result is wrong by {largest:.2g} of {scale:.2g}"
    return errors


def _names(peers: str, table: Sequence[Peer]) -> list[str]:
    known = [peer.name for peer in table]
    names = known if peers == "all" else [name.strip() for name in peers.split(",") if name.strip()]
    if unknown := [name for name in names if name not in known]:
        raise UsageError("There is no such peer.", expected=", ".join(("all", *known)), got=", ".join(unknown))
    return names


def _is_done(row: Row, engines: Mapping[str, Engine]) -> bool:
    """Whether it need not be measured again: its spread is narrow, and all peers of this run have had their turn."""
    return row.settled and all(name in row.timings or name in row.failed for name in engines)


def _circumstances(bench: Bench, absent: Mapping[str, str]) -> dict[str, object]:
    """What no figure must be quoted without."""
    return {
        **machine(),
        "revision": revision(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": sys.version.split()[0],
        "threads": 1,
        "clock": "processor time of the contestant's process",
        "peers": {name: engine.version for name, engine in bench.engines.items()},
        "absent": dict(absent),
        "roofs": bench.roofs.as_dict(),
    }


def revision() -> str | None:
    """The commit of this source tree, if it is one."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return found.stdout.strip() or None
