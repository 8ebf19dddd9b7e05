"""`sparsec tune`, and the tuning that `sparsec compile --tune` does first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sparsec.cli.console import duration, make_table, print_json, print_table, progress, say
from sparsec.cli.interrupt import interrupts_held
from sparsec.cli.parameters import Shapes, chosen_for_option, compiles, json_option, one_shape
from sparsec.errors import UsageError
from sparsec.source import Kind, kind_of
from sparsec.tune.budget import parse_budget

if TYPE_CHECKING:
    from sparsec.tune.search import Outcome, Progress


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--budget", default="60s", show_default=True, metavar="TIME", help="How long to measure: 60s, 5m, 1h.")
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The database of measurements [default: the user's own, which every compilation uses].",
)
@compiles
@chosen_for_option
@json_option
def command(
    model: str,
    budget: str,
    log: Path | None,
    target: str,
    shapes: tuple[str, ...],
    precision: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure the cost model's best candidates for each distinct layer of MODEL on this machine, on one thread or --threads.

    Every result is kept at once: Ctrl-C loses nothing, and a second run goes on where this one stopped. `compile` takes
    a measured winner where it is faster than noise explains. A kernel with a wrong result is rejected and reported.
    With --precision bf16, a layer that was measured without it too gets the faster of both. What was measured on several
    threads counts for compilations with as many.
    """
    seconds = parse_budget(budget, "--budget")
    outcomes = tune_model(model, target, one_shape(shapes), precision, seconds, log, threads, quiet=as_json)
    if as_json:
        print_json({"layers": [each.as_dict() for each in outcomes], **_summary(outcomes)})
        return
    _print(outcomes)


def tune_model(
    model: str,
    target: str,
    shapes: Shapes,
    precision: str | None,
    seconds: float,
    log: Path | None,
    threads: int | None,
    *,
    quiet: bool = False,
) -> list[Outcome]:
    """Tune a model with one line on stderr per layer; the database is opened, and its faults told, before the work."""
    with interrupts_held():  # loads MLIR and LLVM
        from sparsec.cost.database import Database, default_database
        from sparsec.driver import compile_layers
        from sparsec.options import Options
        from sparsec.source import readable
        from sparsec.targets import resolve
        from sparsec.tune.local import LocalMeasurer
        from sparsec.tune.search import tune
        from sparsec.tune.task import tasks_of

    if kind_of(model) is Kind.ARTIFACT:
        raise UsageError("An artifact is compiled already; tuning needs the model.", where=model)
    with Database(log or default_database()) as database:
        with progress(f"reading {Path(model).name}") as stages:
            options = Options(
                target, shapes, use_measurements=False, precision=precision or "f32", threads=threads or 1
            )
            tasks = tasks_of(compile_layers(readable(model), options, progress=stages))
        measurer = LocalMeasurer(resolve(target), options.threads)
        try:
            return tune(tasks, measurer, database, seconds, None if quiet else _tell)
        except KeyboardInterrupt:
            say(f"stopped; what was measured is in {database.path}")
            raise


def _tell(step: Progress) -> None:
    each = step.outcome
    if each.state != "measured":
        return
    times = ", ".join(f"{name} {duration(time)}" for name, time in sorted(each.measured_ns.items(), key=lambda x: x[1]))
    say(f"[{step.number}/{step.count}] {each.names[0]} ({each.shape}): {times}")
    for name, fault in each.rejected.items():
        say(f"  rejected {name}: {fault}")


def _summary(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Totals over all layers, each counted as often as it occurs, where both times are known."""
    known = [each for each in outcomes if {each.default, each.choice} <= each.measured_ns.keys()]
    before = sum(len(each.names) * each.measured_ns[each.default] for each in known)
    after = sum(len(each.names) * each.measured_ns[each.choice] for each in known)
    return {
        "default_ns": before,
        "choice_ns": after,
        "changed": sum(each.choice != each.default for each in outcomes),
        "left": sum(each.state == "left" for each in outcomes),
    }


def _print(outcomes: Sequence[Outcome]) -> None:
    table = make_table("layer", ">times", "shape", "default", ">measured", "best", ">measured", ">gain", "")
    for each in outcomes:
        times = [duration(each.measured_ns.get(name)) for name in (each.default, each.choice)]
        changed = each.choice != each.default
        cells = (each.choice, times[1], f"{each.gain:.2f}x") if changed else ("the default", "", "")
        remark = (
            "no time left" if each.state == "left" else f"rejected: {', '.join(each.rejected)}" * bool(each.rejected)
        )
        table.add_row(each.names[0], str(len(each.names)), each.shape, each.default, times[0], *cells, remark)
    print_table(table)
    total = _summary(outcomes)
    click.echo(
        f"\n{len(outcomes)} layers with a choice, {total['changed']} changed: "
        f"{duration(float(str(total['default_ns'])))} -> {duration(float(str(total['choice_ns'])))} in these"
    )
    if total["left"]:
        click.echo(f"{total['left']} are not measured yet; run it again to go on")
