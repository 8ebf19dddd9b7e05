"""`sparsec explain`"""

from __future__ import annotations

import click

from sparsec.cli.console import duration, make_table, print_json, print_table
from sparsec.cli.models import make_feeds, open_model, require_runnable
from sparsec.cli.parameters import compiles, json_option, one_shape, threads_option
from sparsec.cli.what_if import print_what_if
from sparsec.explain import Explanation, explain
from sparsec.report import Candidate, LayerReport


@click.command()
@click.argument("model", metavar="MODEL_OR_ARTIFACT")
@click.option("--profile", is_flag=True, help="Run it on random inputs, and show the time that each layer took.")
@click.option("--candidates", is_flag=True, help="Show every candidate with its predicted time, or why it cannot.")
@click.option(
    "--what-if",
    metavar="0.9,2:4",
    help="Predict each layer at other shares of zeros, or with N:M patterns; no weight is changed.",
)
@compiles
@threads_option
@json_option
def command(
    model: str,
    profile: bool,
    candidates: bool,
    what_if: str | None,
    target: str,
    shapes: tuple[str, ...],
    precision: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Say for each layer of MODEL_OR_ARTIFACT what was chosen, and why.

    Choices and predicted times are for one thread, measured ones for all that may be used; or as --threads says.
    """
    if what_if is not None:
        if profile or candidates:
            raise click.UsageError("--what-if goes with neither --profile nor --candidates")
        print_what_if(model, what_if, target, one_shape(shapes), precision, threads, as_json=as_json)
        return
    if profile:
        require_runnable(target)
    compiled = open_model(model, target, one_shape(shapes), precision, threads)
    feeds = make_feeds(compiled.inputs, {}, 0, fill=True) if profile else None
    rows = explain(compiled, feeds)
    if as_json:
        report = compiled.report
        how = {"target": compiled.summary.target, "precision": report.precision, "storage": report.storage}
        print_json({**how, "parts": [row.as_dict() for row in rows], "notes": report.notes})
        return
    _print(rows, profile=profile, candidates=candidates)
    for note in compiled.report.notes:
        click.echo(f"note: {note}")


def _print(rows: list[Explanation], *, profile: bool, candidates: bool) -> None:
    table = make_table(
        "layer", "op", "shape", ">density", "choice", ">predicted", *((">measured",) if profile else ()), "reason"
    )
    for row in rows:
        spent = [duration(row.measured_ns)] if profile else []
        if row.layer is not None:
            table.add_row(*_layer_cells(row.layer), *spent, row.layer.reason)
            for each in row.layer.candidates if candidates else ():
                table.add_row(*_candidate_cells(each, row.layer), *("" for _ in spent), _remark(each))
        elif profile:
            table.add_row(
                row.name, "-", "", "-", "upstream loops", "-", *spent, "no weights: lowered by upstream passes"
            )
    print_table(table)
    others = [row for row in rows if row.layer is None]
    if profile:
        total, rest = (sum(row.measured_ns or 0.0 for row in some) for some in (rows, others))
        click.echo(
            f"\n{duration(total)} in all, of it {duration(rest)} in {len(others)} parts without a kernel of ours"
        )
    elif others:
        click.echo(f"\n{len(others)} more parts are compiled by upstream lowering; --profile shows them")


def _layer_cells(layer: LayerReport) -> list[str]:
    density = f"{100 * layer.density:.1f} %" if layer.density is not None else "-"
    return [layer.name, layer.op, layer.shape, density, layer.choice, duration(layer.predicted_ns or None)]


def _candidate_cells(candidate: Candidate, layer: LayerReport) -> list[str]:
    mark = "*" if candidate.kernel == layer.choice else "-"
    return [f"  {mark} {candidate.format}", "", "", "", candidate.kernel, duration(candidate.predicted_ns)]


def _remark(candidate: Candidate) -> str:
    if candidate.refusal is not None:
        return candidate.refusal
    return f"measured by the tuner: {duration(candidate.measured_ns)}" if candidate.measured_ns is not None else ""
