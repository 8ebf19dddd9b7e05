"""`sparsec run`"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np

from sparsec.cli.console import duration, make_table, print_json, print_table, say
from sparsec.cli.models import make_feeds, open_model, require_runnable
from sparsec.cli.outputs import require_writable
from sparsec.cli.parameters import (
    compiles,
    input_option,
    json_option,
    one_shape,
    parse_inputs,
    seed_option,
    threads_option,
)
from sparsec.runtime.tensors import Array
from sparsec.whole_file import whole_file


@click.command()
@click.argument("model", metavar="MODEL_OR_ARTIFACT")
@input_option
@click.option("--random", "fill", is_flag=True, help="Random numbers for every input that is not given.")
@seed_option
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE.npz", help="Write the outputs there.")
@compiles
@threads_option
@json_option
def command(
    model: str,
    inputs: tuple[str, ...],
    fill: bool,
    seed: int,
    output: Path | None,
    target: str,
    shapes: tuple[str, ...],
    precision: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Run MODEL_OR_ARTIFACT once and describe, or with -o write, its outputs."""
    given, sizes = parse_inputs(inputs), one_shape(shapes)
    if output is not None:
        require_writable(output)
    require_runnable(target)
    compiled = open_model(model, target, sizes, precision, threads, given)
    feeds = make_feeds(compiled.inputs, given, seed, fill=fill)
    start = time.perf_counter_ns()
    results = compiled.run(feeds)
    elapsed = time.perf_counter_ns() - start
    if output is not None:
        with whole_file(output) as file:
            np.savez(file, **results)  # type: ignore[arg-type]
    facts = {name: _describe(array) for name, array in results.items()}
    if as_json:
        print_json({"outputs": facts, "nanoseconds": elapsed, "written": str(output) if output else None})
        return
    table = make_table("output", "dtype", "shape", ">min", ">mean", ">max")
    for name, fact in facts.items():
        numbers = [f"{fact[key]:.6g}" if fact[key] is not None else "-" for key in ("min", "mean", "max")]
        table.add_row(name, str(fact["dtype"]), str(fact["shape"]), *numbers)
    print_table(table)
    say(f"one run took {duration(elapsed)}" + (f"; outputs are in {output}" if output else ""))


def _describe(array: Array) -> dict[str, object]:
    numbers = np.asarray(array, np.float64)
    some = array.size > 0
    return {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "min": float(numbers.min()) if some else None,
        "mean": float(numbers.mean()) if some else None,
        "max": float(numbers.max()) if some else None,
    }
