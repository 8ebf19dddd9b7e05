"""How well the cost model chooses: every kernel that can compute a layer is measured, and the choice is compared with the best.

Regret is the measured time of the choice over that of the best; the error of a prediction is predicted over measured time.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from bench.cost_cells import ARITHMETICS, GRID, QUICK, CostCell, held_out, mixed
from bench.cost_times import time_kernels
from sparsec.cli.benchmark import machine
from sparsec.cli.console import duration, make_table, print_table, progress, say
from sparsec.cost.machine_file import Known, load_machine
from sparsec.errors import ToolchainError
from sparsec.formats.facts import facts_of
from sparsec.kernels.arithmetic import F32
from sparsec.kernels.problem import Problem
from sparsec.passes.select_format import candidates, describe
from sparsec.targets import resolve
from sparsec.targets.isa import isa_of
from sparsec.targets.target import Target

RESULTS = Path(__file__).parent / "results"
NEAR, FAR = 1.05, 1.20


@dataclass(frozen=True, slots=True)
class Row:
    """One cell; times in ns by kernel, `wrong` what is wrong with those that have no time."""

    layer: str
    pattern: str
    zeros: float
    choice: str
    best: str
    regret: float
    predicted_ns: dict[str, float]
    measured_ns: dict[str, float]
    spread_ns: dict[str, float]
    wrong: dict[str, str]


def cells_of(precision: str, which: str | None, *, quick: bool) -> tuple[CostCell, ...]:
    """The cells that constants were fitted to, "new" or "mixed" ones; of other precisions than float32 all are new."""
    if which == "mixed":
        return mixed(ARITHMETICS[precision])[:: 7 if quick else 1]
    if which == "new" or precision != "fp32":
        return held_out(ARITHMETICS[precision])[:: 9 if quick else 1]
    return QUICK if quick else GRID


def run(
    cells: Sequence[CostCell], json_file: Path, *, target: str, seconds: float, minutes: float | None = None
) -> int:
    """Measure the cells, print the summary, write the JSON; returns the exit code: 1 if a kernel is wrong.

    After `minutes`, or when interrupted, what was measured so far is summarised and kept.
    """
    deadline = time.monotonic() + 60 * minutes if minutes is not None else math.inf
    resolved = resolve(target)
    known = load_machine(resolved.name)
    rows, tried = list[Row](), 0
    with progress("measuring") as stages, suppress(KeyboardInterrupt):
        for number, cell in enumerate(cells):
            if time.monotonic() > deadline:
                break
            stages(describe(cell.problem), number, len(cells))
            if (row := _measure(cell, resolved, known, seconds)) is not None:
                rows.append(row)
            tried = number + 1
    if not rows:
        return 0
    summary = _summary(rows)
    document = {**machine(), "target": resolved.name, "model": asdict(known.machine), "summary": summary}
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(_json(document, rows))
    _print(rows, summary)
    if len(rows) < tried:
        click.echo(f"{tried - len(rows)} cells have no kernel in their arithmetic")
    if tried < len(cells):
        click.echo(f"{len(cells) - tried} cells were not reached")
    say(f"{known.note}; {json_file}")
    return 1 if any(row.wrong for row in rows) else 0


def _measure(cell: CostCell, target: Target, known: Known, seconds: float) -> Row | None:
    """None if no kernel computes such a layer in its arithmetic."""
    isa, weight = isa_of(target), cell.weight()
    facts = facts_of(weight)
    listed = candidates(cell.problem, facts, isa, known.machine, {})
    able = sorted((each for each in listed if each.predicted_ns is not None), key=lambda each: each.predicted_ns or 0.0)
    if not able:
        return None
    found = time_kernels(cell.problem, facts, weight, able, target, seconds)
    measured = {each.kernel: each.median_ns for each in found if each.median_ns is not None}
    if not measured:
        raise ToolchainError("No kernel of the layer can be measured.", where=_layer(cell.problem), got=str(found))
    best = min(measured, key=lambda name: measured[name])
    choice = able[0].kernel
    return Row(
        layer=_layer(cell.problem),
        pattern=cell.pattern,
        zeros=cell.zeros,
        choice=choice,
        best=best,
        regret=measured.get(choice, math.inf) / measured[best],
        predicted_ns={each.kernel: each.predicted_ns or 0.0 for each in able},
        measured_ns=measured,
        spread_ns={each.kernel: each.spread_ns for each in found},
        wrong={each.kernel: each.fault for each in found if each.fault is not None},
    )


def _layer(problem: Problem) -> str:
    arithmetic = problem.arithmetic.name
    return describe(problem) if problem.arithmetic == F32 else f"{arithmetic} {describe(problem)}"


def _summary(rows: Sequence[Row]) -> dict[str, object]:
    """Shares of cells, and per kernel the 10th, 50th and 90th percentile of predicted over measured time."""
    regrets = np.array([row.regret for row in rows])
    kernels = sorted({name for row in rows for name in row.measured_ns})
    errors = {
        name: [row.predicted_ns[name] / row.measured_ns[name] for row in rows if name in row.measured_ns]
        for name in kernels
    }
    return {
        "cells": len(rows),
        "within_5_percent": float(np.mean(regrets <= NEAR)),
        "within_20_percent": float(np.mean(regrets <= FAR)),
        "worst_regret": float(regrets.max()),
        "mean_regret": float(np.exp(np.mean(np.log(regrets)))),
        "predicted_over_measured": {name: np.percentile(each, (10, 50, 90)).tolist() for name, each in errors.items()},
    }


def _json(document: dict[str, object], rows: Sequence[Row]) -> str:
    """One cell per line, so that versions can be compared."""
    cells = ",\n  ".join(json.dumps(_rounded(asdict(row))) for row in rows)
    return f'{json.dumps(document, indent=1)[:-2]},\n "cells": [\n  {cells}\n ]\n}}\n'


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _print(rows: Sequence[Row], summary: dict[str, object]) -> None:
    worst = sorted((row for row in rows if row.regret > NEAR), key=lambda row: -row.regret)
    table = make_table("layer", "pattern", ">zeros", "choice", ">measured", "best", ">measured", ">regret")
    for row in worst[:25]:
        times = [duration(row.measured_ns.get(name)) for name in (row.choice, row.best)]
        zeros = f"{100 * row.zeros:.0f} %"
        table.add_row(row.layer, row.pattern, zeros, row.choice, times[0], row.best, times[1], f"{row.regret:.2f}x")
    if worst:
        print_table(table)
    for row in rows:
        for name, fault in row.wrong.items():
            click.echo(f"WRONG {row.layer} {row.pattern} {row.zeros}: {name}: {fault}")
    errors = make_table("kernel", ">predicted/measured p10", ">p50", ">p90")
    quantiles = summary["predicted_over_measured"]
    assert isinstance(quantiles, dict)
    for name, values in quantiles.items():
        errors.add_row(name, *(f"{value:.2f}" for value in values))
    print_table(errors)
    near, far = (float(str(summary[name])) for name in ("within_5_percent", "within_20_percent"))
    click.echo(
        f"\n{len(rows)} cells: the choice is within 5 % of the best in {100 * near:.1f} %, within 20 % in {100 * far:.1f} %; "
        f"worst {float(str(summary['worst_regret'])):.2f}x"
    )
