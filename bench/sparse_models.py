"""`python -m bench sparse-models`: pruned networks end to end against ONNX Runtime, OpenVINO and DeepSparse.

Every engine takes its turn in each round, on one processor (or, with several threads, on all that the process may use), and a
ratio compares turns of one round. All results are checked against ONNX Runtime's on the same weights.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

import sparsec
from bench.measure import one_processor
from bench.peers.network import PLAIN, Network, NetworkEngine
from bench.peers.peer import Array, Arrays, Calls, Contestant
from bench.peers.race import Clock, Race, outputs_of, race, race_the_fit
from bench.peers.rivals import OUR_PART, RIVALS, Rival, open_engines
from bench.sparse_models_rows import ModelCell, ModelRow, read_rows, write_rows
from bench.sparse_models_summary import row_line, summarise
from bench.sparse_zoo import NETWORKS, feeds_of
from bench.spmm import revision
from bench.spmm_rows import OURS
from bench.variants import variant, zeros_of
from sparsec.cli.benchmark import machine
from sparsec.errors import SparsecError, UsageError
from sparsec.model import CompiledModel
from sparsec.reference import OnnxRuntime

RESULTS = Path(__file__).parent / "results" / "sparse_models.json"
FEWEST_ROUNDS = 7
TURN_NS = 15e6  # a network wakes more code and data than a layer; it is to be timed as in a stream of requests
# Largest error relative to the largest value. Rounding to 8 bits flips differently where sums differ in the last bit, and
# such steps add up over layers.
TOLERANCES: Mapping[str, float] = {"fp32": 1e-3, "bf16": 0.1, "int8": 0.1, "int8-bf16": 0.1}


@dataclass(frozen=True, slots=True)
class Bench:
    """What all cells of one run share."""

    engines: Mapping[str, NetworkEngine]
    absent: Mapping[str, str]
    seconds: float


def run(
    cells: Sequence[ModelCell], peers: Sequence[str] | None, json_file: Path, seconds: float, *, resume: bool
) -> int:
    """Race every cell, or those that the file lacks if `resume`, keep the rows there, and print the table.

    `peers` are names of engines, None for all. Returns the exit code: 1 if we were wrong or could not compile.
    """
    rivals = tuple(rival for rival in RIVALS[cells[0].precision] if peers is None or rival.engine in peers)
    threads = cells[0].threads
    rows, failed = read_rows(json_file), dict[str, str]()
    with one_processor() if threads == 1 else nullcontext():
        engines, absent = open_engines(rivals)
        for name, reason in absent.items():
            click.echo(f"absent: {name}: {reason}")
        bench = Bench(engines, absent, seconds)
        try:
            for number, cell in enumerate(cells, 1):
                if resume and cell in rows and rows[cell].complete:
                    continue
                try:
                    rows[cell] = race_cell(bench, cell, rivals, _narrator(f"{number}/{len(cells)} {cell}"))
                except UsageError as error:
                    failed[str(cell)] = f"not measured: {error}"
                    continue
                except SparsecError as error:
                    failed[str(cell)] = f"FAULT: {error}"
                    continue
                write_rows(json_file, _circumstances(engines), rows.values())
                click.echo(row_line(rows[cell]))
        except KeyboardInterrupt:
            click.echo("interrupted: what was measured is kept", err=True)
        finally:
            for engine in engines.values():
                engine.close()
    measured = [rows[cell] for cell in cells if cell in rows]
    summarise(measured)
    for cell_name, reason in failed.items():
        click.echo(f"{cell_name}: {reason}", err=True)
    wrong = [row for row in measured if OURS in row.failed]
    return 1 if wrong or any(reason.startswith("FAULT") for reason in failed.values()) else 0


def race_cell(bench: Bench, cell: ModelCell, rivals: Sequence[Rival], say: Callable[[str], None]) -> ModelRow:
    """Make the files, let every engine prepare its own, check the results, and time them in turns."""
    say("exporting")
    own = OUR_PART[cell.precision]
    files = {form: variant(cell, form) for form in {own.form, PLAIN, *(each.form for each in rivals)}}
    feeds = feeds_of(files[PLAIN])
    say("compiling")
    start = time.perf_counter()
    model = sparsec.compile(files[own.form], threads=cell.threads, precision=own.precision)
    compile_seconds = time.perf_counter() - start
    contestants: dict[str, Contestant[Arrays]] = {OURS: _ours(model, feeds)}
    failed: dict[str, str] = {}
    for rival in rivals:
        if rival.engine not in bench.engines:
            continue
        say(f"preparing {rival.name}")
        network = Network(files[rival.form], feeds, cell.threads, rival.precision)
        try:
            contestants[rival.name] = bench.engines[rival.engine].enter_network(network)
        except Exception as error:  # peers raise a dozen classes of their own
            failed[rival.name] = str(error)
    say("checking")
    forms = {OURS: own.form, **{rival.name: rival.form for rival in rivals}}
    errors = _check(contestants, cell, {name: files[form] for name, form in forms.items()}, feeds, failed)
    say("measuring")
    result = _race(contestants, failed, bench.seconds, cell.threads)
    for each in contestants.values():
        each.close()
    layers = model.report.layers
    return ModelRow(
        cell=cell,
        weights=NETWORKS[cell.network].weights,
        zeros=zeros_of(files[PLAIN]),
        layers=len(layers),
        sparse_layers=sum(layer.format != "dense" for layer in layers),
        compile_seconds=compile_seconds,
        rounds=result.rounds,
        settled=result.settled,
        idle=result.idle,
        timings=result.timings,
        errors=errors,
        failed=failed,
        absent=dict(bench.absent),
        revision=revision(),
        date=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    )


def _ours(model: CompiledModel, feeds: Mapping[str, Array]) -> Calls[Arrays]:
    """Runs on tensors that are checked once, as those of the engines that can bind theirs."""
    bound = model.session.bind(feeds)
    return Calls(bound, lambda: tuple(bound.outputs.values()))


def _check(
    contestants: Mapping[str, Contestant[Arrays]],
    cell: ModelCell,
    references: Mapping[str, Path],
    feeds: Mapping[str, Array],
    failed: dict[str, str],
) -> dict[str, float]:
    """Largest errors, each against ONNX Runtime on the file that the engine got; adds to `failed` whoever is wrong or dies."""
    files = {references[name] for name in contestants}
    expected = {file: OnnxRuntime(file, cell.threads, exact=True).run(feeds) for file in files}
    errors = {}
    for name, found in outputs_of(contestants, failed):
        errors[name] = max(_error(*pair) for pair in zip(found, expected[references[name]], strict=True))
        if not errors[name] <= TOLERANCES[cell.precision]:
            failed[name] = f"its result is wrong by {errors[name]:.2g} of the largest value"
    return errors


def _error(found: Array, expected: Array) -> float:
    one, other = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if one.shape != other.shape:
        return float("inf")
    return float(np.abs(one - other).max(initial=0.0) / max(float(np.abs(other).max(initial=0.0)), 1e-3))


def _race(contestants: Mapping[str, Contestant[Arrays]], failed: dict[str, str], seconds: float, threads: int) -> Race:
    """Race us and whoever has not failed."""
    clock = Clock.PROCESSOR if threads == 1 else Clock.WALL
    return race_the_fit(
        contestants,
        OURS,
        failed,
        lambda fit: race(fit, seconds, fewest=FEWEST_ROUNDS, clock=clock, turn_ns=TURN_NS),
    )


def _narrator(name: str) -> Callable[[str], None]:
    start = time.perf_counter()
    return lambda step: click.echo(f"{time.perf_counter() - start:6.1f} s  {name}: {step}", err=True)


def _circumstances(engines: Mapping[str, NetworkEngine]) -> dict[str, object]:
    """What no figure must be quoted without."""
    return {
        **machine(),
        "python": sys.version.split()[0],
        "clock": "processor time of the engine's process for one thread, wall time for several",
        "peers": {name: engine.version for name, engine in engines.items()},
    }
