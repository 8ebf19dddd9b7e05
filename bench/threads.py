"""`python -m bench threads`: how much faster layers and networks are on several threads, the same artifact in turns.

Wall time. Threads get no processor of their own: on a machine that does other things too, speed-ups are lower bounds unless
the threads are urgent.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import click
import numpy as np

import sparsec
from bench.measure import urgent
from bench.peers.peer import Array, Arrays, Calls
from bench.peers.race import Clock, Timing, race
from bench.spmm import revision
from bench.threads_cells import LEAST_FLOPS, Case
from sparsec.cli.benchmark import machine
from sparsec.cli.console import duration, make_table, print_table
from sparsec.errors import SparsecError, UsageError
from sparsec.model import CompiledModel

RESULTS = Path(__file__).parent / "results" / "threads.json"
TURN_NS = 40e6  # threads that were put to sleep during the turn of another have to find their processors again
GOAL = 1.8  # of two threads over one


@dataclass(frozen=True, slots=True)
class Row:
    """One case; `timings` by number of threads, with ratios to one thread (below 1 where threads help)."""

    name: str
    flops: int | None
    settled: bool
    timings: Mapping[int, Timing]

    def speedup(self, threads: int) -> tuple[float, float, float]:
        """Median, 10th and 90th percentile over rounds."""
        timing = self.timings[threads]
        return 1 / timing.ratio, 1 / timing.ratio_p90, 1 / timing.ratio_p10


def run(
    cases: Sequence[Case], threads: Sequence[int], seconds: float, json_file: Path, *, before_others: bool = False
) -> int:
    """Measure, print the table, write the JSON; returns the exit code: 1 if a case does not compile or threads change a result."""
    rows, faults = list[Row](), list[str]()
    for number, case in enumerate(cases, 1):
        try:
            row = _measure(case, threads, seconds, urgent if before_others else nullcontext)
        except UsageError as error:
            click.echo(f"{case.name} is not measured: {error}", err=True)
            continue
        except SparsecError as error:
            faults.append(f"{case.name}: {error}")
            continue
        if isinstance(row, str):
            faults.append(row)
            continue
        rows.append(row)
        found = ", ".join(f"{each} threads {row.speedup(each)[0]:.2f}x" for each in threads if each > 1)
        click.echo(f"{number}/{len(cases)} {case.name}: {duration(row.timings[1].median_ns)}, {found}", err=True)
    _print(rows, threads)
    facts = {
        **machine(),
        "revision": revision(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "processors": _processors(),
    }
    lines = ",\n  ".join(json.dumps(asdict(row)) for row in rows)
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(f'{json.dumps(facts, indent=1)[:-2]},\n "cases": [\n  {lines}\n ]\n}}\n')
    for fault in faults:
        click.echo(f"FAULT: {fault}", err=True)
    return 1 if faults else 0


def _measure(
    case: Case, threads: Sequence[int], seconds: float, priority: Callable[[], AbstractContextManager[None]]
) -> Row | str:
    """The row, or what is wrong with the results."""
    source, feeds = case.make()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.sparsec"
        sparsec.compile(source, threads=1).save(path)
        with priority():  # which the threads of the models inherit
            models = {count: sparsec.load(path, threads=count) for count in threads}
            calls = {count: _calls(model, feeds) for count, model in models.items()}
            first, *others = (each.output() for each in calls.values())
            if not all(np.array_equal(*pair) for other in others for pair in zip(first, other, strict=True)):
                return f"{case.name}: the result depends on the number of threads"
            by_name = {str(count): each for count, each in calls.items()}
            found = race(by_name, seconds, clock=Clock.WALL, turn_ns=TURN_NS)
    return Row(case.name, case.flops, found.settled, {int(name): each for name, each in found.timings.items()})


def _calls(model: CompiledModel, feeds: Mapping[str, Array]) -> Calls[Arrays]:
    bound = model.session.bind(feeds)
    bound()
    return Calls(bound, lambda: tuple(bound.outputs.values()))


def _print(rows: Sequence[Row], threads: Sequence[int]) -> None:
    several = [count for count in threads if count > 1]
    table = make_table("layer or network", ">MFLOP", ">1 thread", *(f">{count} threads" for count in several), "")
    for row in rows:
        speedups = [row.speedup(count) for count in several]
        cells = [f"{middle:.2f}x ({low:.2f}-{high:.2f})" for middle, low, high in speedups]
        flops = f"{row.flops / 1e6:.0f}" if row.flops else "-"
        table.add_row(row.name, flops, duration(row.timings[1].median_ns), *cells, "" if row.settled else "wide spread")
    print_table(table)
    layers = [row for row in rows if row.flops]
    for count in several:
        if found := [row.speedup(count)[0] for row in layers]:
            goal = GOAL * count / 2
            reached = sum(each >= goal for each in found)
            click.echo(
                f"{count} threads, layers above {LEAST_FLOPS / 1e6:.0f} MFLOP: median {median(found):.2f}x, "
                f"worst {min(found):.2f}x, at least {goal:.1f}x in {reached} of {len(found)}"
            )


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
