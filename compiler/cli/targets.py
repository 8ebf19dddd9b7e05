"""`sparsec targets`"""

from __future__ import annotations

import platform

import click

from sparsec.cli.console import make_table, print_json, print_table
from sparsec.cli.parameters import json_option
from sparsec.runtime.library import cpu_features
from sparsec.targets import TARGETS
from sparsec.targets.target import Target


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List what can be compiled for, which of it runs here, and what this machine has."""
    present = cpu_features()
    missing = {name: _missing(target, present) for name, target in TARGETS.items()}
    native = next((name for name in reversed(list(TARGETS)) if not missing[name]), None)
    if as_json:
        rows = [_facts(target, missing[name], name == native) for name, target in TARGETS.items()]
        print_json({"targets": rows, "machine": platform.machine(), "features": sorted(present)})
        return
    table = make_table("target", "for", ">vectors", "runs here")
    for name, target in TARGETS.items():
        runs = f"no: lacks {', '.join(missing[name])}" if missing[name] else "yes"
        chosen = " (native)" if name == native else ""
        table.add_row(name + chosen, target.triple, f"{target.vector_registers} x {8 * target.vector_bytes} bit", runs)
    print_table(table)
    click.echo(f"\nthis machine: {platform.machine()} with {', '.join(sorted(present)) or 'no known features'}")


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
