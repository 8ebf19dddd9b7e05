"""`sparsec benchmark`"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

from sparsec.benchmark import Race, race
from sparsec.cli.console import duration, json_text, make_table, print_json, print_table, progress, say
from sparsec.cli.models import make_feeds, open_model, reference_of, require_runnable
from sparsec.cli.outputs import require_writable, write_text
from sparsec.cli.parameters import (
    compiles,
    input_option,
    one_shape,
    parse_inputs,
    require_seconds,
    seed_option,
    threads_option,
)
from sparsec.cost.host import cpu_name
from sparsec.errors import UsageError
from sparsec.model import CompiledModel
from sparsec.reference import OpenVino
from sparsec.runtime.tensors import Array

PEERS = ("onnxruntime", "openvino", "torch")


@click.command()
@click.argument("model", metavar="MODEL_OR_ARTIFACT")
@threads_option
@click.option("--seconds", type=float, default=3.0, show_default=True, help="How long to measure.")
@click.option("--repeats", type=click.IntRange(1), metavar="N", help="Measure N rounds instead of --seconds.")
@click.option("--against", metavar="ENGINE,...", default="", help=f"Race other engines: {', '.join(PEERS)}.")
@input_option
@seed_option
@compiles
@click.option("--json", "json_file", metavar="FILE", help="Write JSON to FILE; - for stdout, with nothing else there.")
def command(
    model: str,
    threads: int | None,
    seconds: float,
    repeats: int | None,
    against: str,
    inputs: tuple[str, ...],
    seed: int,
    target: str,
    shapes: tuple[str, ...],
    precision: str | None,
    json_file: str | None,
) -> None:
    """Time MODEL_OR_ARTIFACT: median and spread per run, after a warm-up.

    Peers run in the same process, in turns with the model; a ratio compares turns of the same round, above 1 if the
    peer is slower. Inputs that are not given are random. On a GPU, a run is timed from its launch to its end, with inputs
    and outputs in the GPU's memory; peers run on the CPU.
    """
    given, sizes, peers = parse_inputs(inputs), one_shape(shapes), _peers(against)
    require_seconds(seconds)
    if json_file not in (None, "-"):
        require_writable(Path(json_file))
    require_runnable(target)
    compiled = open_model(model, target, sizes, precision, threads, given)
    feeds = make_feeds(compiled.inputs, given, seed, fill=True)
    contestants = _contestants(model, compiled, peers, feeds)
    with progress("measuring") as stages:
        result = race(
            contestants,
            seconds=seconds,
            rounds=repeats,
            progress=lambda done, count: stages(f"round {done} of {count}", done, count),
        )
    facts = {"model": model, "precision": compiled.report.precision, "threads": compiled.threads}
    facts |= {"runs_on": compiled.runs_on}
    document = {**machine(), **facts, **result.as_dict()}
    if json_file == "-":
        print_json(document)
        return
    print_race(result, compiled.runs_on)
    if json_file is not None:
        write_text(json_text(document), Path(json_file))


def _peers(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in PEERS]:
        raise UsageError("There is no such engine.", expected=", ".join(PEERS), got=", ".join(unknown))
    return names


def _contestants(
    model: str, compiled: CompiledModel, peers: list[str], feeds: dict[str, Array]
) -> dict[str, Callable[[], object]]:
    """The model first, writing into the same outputs each time."""
    if compiled.threads is None:
        contestants: dict[str, Callable[[], object]] = {"sparsec": compiled.bind(feeds)}
    else:
        out = compiled.run(feeds)
        contestants = {"sparsec": lambda: compiled.run(feeds, out=out)}
    for name in peers:
        threads = compiled.threads
        engine = OpenVino(model, feeds, threads) if name == "openvino" else reference_of(model, compiled, threads)
        if (name == "torch") != engine.name.startswith("torch"):
            raise UsageError(f"{name} does not run this kind of model.", where=model, got=engine.name)
        contestants[engine.name] = lambda run=engine.run: run(feeds)  # type: ignore[misc]
    return contestants


def machine() -> dict[str, object]:
    """What a figure must not be quoted without."""
    import sparsec

    return {"sparsec": sparsec.__version__, "cpu": cpu_name(), "processors": len(os.sched_getaffinity(0))}


def print_race(result: Race, runs_on: str) -> None:
    """One row per contestant."""
    table = make_table("engine", ">median", ">p10", ">p90", ">ratio", ">(p10", ">p90)")
    for each in result.timings:
        ratios = [f"{ratio:.2f}x" for ratio in (each.ratio, each.ratio_p10, each.ratio_p90)]
        times = [duration(time) for time in (each.median_ns, each.p10_ns, each.p90_ns)]
        table.add_row(each.name, *times, *(ratios if len(result.timings) > 1 else ["", "", ""]))
    print_table(table)
    say(f"{result.rounds} rounds, {runs_on}, {cpu_name()}")
