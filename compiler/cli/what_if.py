"""`sparsec explain --what-if`"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sparsec.cli.console import duration, make_table, print_json, print_table, progress
from sparsec.cli.interrupt import interrupts_held
from sparsec.cli.parameters import Shapes
from sparsec.errors import UsageError
from sparsec.report import LayerReport
from sparsec.source import Kind, kind_of

if TYPE_CHECKING:
    from sparsec.what_if import Prediction, Scenario


def print_what_if(
    model: str, text: str, target: str, shapes: Shapes, precision: str | None, threads: int | None, *, as_json: bool
) -> None:
    """Predict every layer of `model` in the scenarios that `text` names, and print a table or JSON."""
    with interrupts_held():  # loads MLIR and LLVM
        from sparsec.driver import compile_layers
        from sparsec.options import Options
        from sparsec.source import readable
        from sparsec.what_if import parse_scenarios, what_if

    scenarios = parse_scenarios(text)
    if kind_of(model) is Kind.ARTIFACT:
        raise UsageError("An artifact has no weights to ask --what-if about.", where=model, next_step="name the model")
    with progress(f"reading {Path(model).name}") as stages:
        options = Options(target, shapes, precision=precision or "f32", threads=threads or 1)
        unit = compile_layers(readable(model), options, progress=stages)
    predictions = what_if(unit, scenarios)
    if as_json:
        print_json(_document(predictions, scenarios, unit.notes))
        return
    _print(predictions, scenarios)
    for note in unit.notes:
        click.echo(f"note: {note}")


def _document(
    predictions: Sequence[Prediction], scenarios: Sequence[Scenario], notes: Sequence[str]
) -> dict[str, object]:
    layers = [
        {
            "name": each.now.name,
            "op": each.now.op,
            "shape": each.now.shape,
            "now": _facts(each.now),
            "then": {
                scenario.text: _facts(then) if then else None
                for scenario, then in zip(scenarios, each.then, strict=True)
            },
        }
        for each in predictions
    ]
    then = {each.text: _total(predictions, number) for number, each in enumerate(scenarios)}
    return {"layers": layers, "total_ns": {"now": _total(predictions), "then": then}, "notes": list(notes)}


def _facts(report: LayerReport) -> dict[str, object]:
    return {
        "density": report.density,
        "choice": report.choice,
        "predicted_ns": report.predicted_ns,
        "reason": report.reason,
    }


def _print(predictions: Sequence[Prediction], scenarios: Sequence[Scenario]) -> None:
    ahead = [column for each in scenarios for column in (f">at {each.text}", "choice", ">ratio")]
    table = make_table("layer", "op", "shape", ">density", ">now", "choice", *ahead)
    for each in predictions:
        density = f"{100 * each.now.density:.1f} %" if each.now.density is not None else "-"
        cells = [cell for then in each.then for cell in _cells(each.now, then)]
        now = (each.now.name, each.now.op, each.now.shape, density, duration(each.now.predicted_ns), each.now.choice)
        table.add_row(*now, *cells)
    now_ns = _total(predictions)
    totals = [_total(predictions, number) for number in range(len(scenarios))]
    ends = [cell for total in totals for cell in (duration(total), "", f"{now_ns / max(total, 1e-9):.2f}x")]
    table.add_section()
    table.add_row(f"{len(predictions)} layers", "", "", "", duration(now_ns), "", *ends)
    print_table(table)
    click.echo("\npredicted for one thread; what has no weights is not counted")


def _cells(now: LayerReport, then: LayerReport | None) -> tuple[str, str, str]:
    if then is None:
        return "-", "as now", ""
    return duration(then.predicted_ns), then.choice, f"{now.predicted_ns / max(then.predicted_ns, 1e-9):.2f}x"


def _total(predictions: Sequence[Prediction], scenario: int | None = None) -> float:
    """Predicted nanoseconds of all layers, now or in a scenario."""
    reports = [each.now if scenario is None else each.then[scenario] or each.now for each in predictions]
    return sum(report.predicted_ns for report in reports)
