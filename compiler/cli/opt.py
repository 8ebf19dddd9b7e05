"""`sparsec opt`"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np
from torch_mlir import ir

from sparsec.cli.console import make_table, print_table
from sparsec.cli.outputs import require_writable, write_text
from sparsec.cli.parameters import target_option
from sparsec.errors import InputError, ModelError, UsageError
from sparsec.ir.context import make_context
from sparsec.ir.pipeline import run_pipeline
from sparsec.ir.weights import WeightStore, find_weights, weight_name
from sparsec.passes.lower_llvm import lower_llvm
from sparsec.passes.table import PASSES
from sparsec.passes.unit import Pass, Unit
from sparsec.targets import resolve
from sparsec.targets.isa import isa_of

_LAST = ("lower_llvm", lower_llvm, "kernels, without @main, to the LLVM dialect")


@click.command()
@click.argument("source", metavar="IN.mlir", required=False)
@click.option("--passes", metavar="A,B,C", default="", help="Passes of sparsec, run in this order; see --list.")
@click.option("--pipeline", metavar="TEXT", help="An upstream pipeline, what stands in builtin.module(...); run last.")
@click.option("--weights", metavar="FILE.npz", help="The weights by the sym_name of their sparsec.weight ops.")
@target_option
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="[default: stdout]")
@click.option("--list", "list_passes", is_flag=True, help="List the passes in the order of compilation, and stop.")
def command(
    source: str | None,
    passes: str,
    pipeline: str | None,
    weights: str | None,
    target: str,
    output: Path | None,
    list_passes: bool,
) -> None:
    """Run passes on the module in IN.mlir (- for stdin) and print it.

    Every level of a compilation can be had as text (SPARSEC_DUMP=DIR), edited, and run further with this.
    """
    if list_passes:
        _print_passes()
        return
    if source is None:
        raise click.UsageError("Missing argument 'IN.mlir'.")
    chosen = [_pass(name.strip()) for name in passes.split(",") if name.strip()]
    if output is not None:
        require_writable(output, text=True)
    unit = Unit(_parse(source), _read_weights(weights), isa_of(resolve(target)))
    if chosen:
        _require_weights(unit)
    for run in chosen:
        run(unit)
    if pipeline:
        _run_upstream(unit.module, pipeline)
    write_text(f"{unit.module}\n", output)


def _run_upstream(module: ir.Module, pipeline: str) -> None:
    try:
        run_pipeline(module, pipeline, what="running the given pipeline")
    except ValueError as error:
        raise UsageError("MLIR does not parse the pipeline.", got=str(error).strip()) from error


def _print_passes() -> None:
    table = make_table("pass", "why here")
    for name, _, why in (*PASSES, _LAST):
        table.add_row(name, why)
    print_table(table)


def _pass(name: str) -> Pass:
    table = {each: run for each, run, _ in (*PASSES, _LAST)}
    if name not in table:
        raise UsageError("There is no such pass.", expected=", ".join(table), got=name)
    return table[name]


def _parse(source: str) -> ir.Module:
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text()
    except OSError as error:
        raise ModelError(f"The module cannot be read: {error.strerror}.", where=source) from error
    except UnicodeDecodeError as error:
        raise ModelError("This is not MLIR text.", where=source, got=str(error)) from error
    try:
        return ir.Module.parse(text, make_context())
    except ir.MLIRError as error:
        raise ModelError("MLIR does not parse or verify the module.", where=source, got=str(error)) from error


def _read_weights(path: str | None) -> WeightStore:
    if path is None:
        return WeightStore()
    try:
        with np.load(path, allow_pickle=False) as file:
            return WeightStore({name: file[name] for name in file.files})
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise InputError("The weights cannot be read.", where=path, expected="a .npz file", got=str(error)) from error


def _require_weights(unit: Unit) -> None:
    missing = [name for name in map(weight_name, find_weights(unit.module)) if name not in unit.weights]
    if missing:
        raise InputError(
            "The module has weights whose values are not given.",
            expected="--weights FILE.npz with each of them by name",
            got=f"none for {', '.join(missing[:5])}" + (f" and {len(missing) - 5} more" if len(missing) > 5 else ""),
        )
