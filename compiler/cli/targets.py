"""`sparsec targets`"""

from __future__ import annotations

import platform

import click

from sparsec.cli.calibrate import print_calibration
from sparsec.cli.console import make_table, print_json, print_table
from sparsec.cli.parameters import json_option, target_option
from sparsec.errors import TargetError
from sparsec.runtime.library import cpu_features
from sparsec.targets import GPU, NATIVE, TARGETS
from sparsec.targets.target import Target


@click.command()
@click.option(
    "--calibrate", is_flag=True, help="Measure the roofs of one core and of all, and keep them for the cost model."
)
@click.option("--seconds", type=float, help="How long --calibrate measures.  [default: 10]")
@target_option
@json_option
def command(calibrate: bool, seconds: float | None, target: str, as_json: bool) -> None:
    """List what can be compiled for, which of it runs here, and what this machine has.

    With --calibrate, measure this machine as code for --target sees it; every later compilation for that target uses
    the result.
    """
    if calibrate:
        print_calibration(target, seconds, as_json=as_json)
        return
    if seconds is not None or target != NATIVE:
        raise click.UsageError("--seconds and --target go with --calibrate only")
    present = cpu_features()
    missing = {name: _missing(row, present) for name, row in TARGETS.items()}
    native = next((name for name in reversed(list(TARGETS)) if not missing[name]), None)
    if as_json:
        rows = [_facts(row, missing[name], name == native) for name, row in TARGETS.items()]
        rows.append({"name": GPU, "runs_here": (gpu := _gpu()).startswith("yes"), "gpu": gpu})
        print_json({"targets": rows, "machine": platform.machine(), "features": sorted(present)})
        return
    table = make_table("target", "for", ">vectors", "runs here")
    for name, row in TARGETS.items():
        runs = f"no: lacks {', '.join(missing[name])}" if missing[name] else "yes"
        chosen = " (native)" if name == native else ""
        table.add_row(name + chosen, row.triple, f"{row.vector_registers} x {8 * row.vector_bytes} bit", runs)
    table.add_row(GPU, "NVIDIA GPUs, sm_80 and later", "-", _gpu())
    print_table(table)
    click.echo(f"\nthis machine: {platform.machine()} with {', '.join(sorted(present)) or 'no known features'}")


def _gpu() -> str:
    """Whether models for GPUs run here, and on which, or why not."""
    from sparsec.cuda.device.driver import device

    try:
        found = device()
    except TargetError as error:
        return f"no: {error.what}"
    return f"yes: {found.name}, driver for CUDA {found.driver}"


def _missing(target: Target, present: frozenset[str]) -> list[str]:
    """What this machine lacks of a target, in its order."""
    machine = target.triple.split("-")[0]
    if machine != platform.machine().replace("arm64", "aarch64"):
        return [machine]
    return [feature for feature in target.requires if feature not in present]


def _facts(target: Target, missing: list[str], native: bool) -> dict[str, object]:
    return {
        "name": target.name,
        "triple": target.triple,
        "vector_bytes": target.vector_bytes,
        "requires": list(target.requires),
        "runs_here": not missing,
        "missing": missing,
        "native": native,
    }
