"""`sparsec targets --calibrate`"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import click

from sparsec.cli.console import make_table, print_json, print_table, progress, size
from sparsec.cli.interrupt import interrupts_held
from sparsec.cli.parameters import require_seconds
from sparsec.cost.machine import GENERIC, Machine


def print_calibration(name: str, seconds: float | None, *, as_json: bool) -> None:
    """Measure this machine for the target called `name`, keep the result, and print it."""
    with interrupts_held():  # loads MLIR and LLVM
        from sparsec.cost.machine_file import store_machine
        from sparsec.targets import resolve
        from sparsec.tune.roofs import SECONDS, calibrate

    seconds = SECONDS if seconds is None else seconds
    require_seconds(seconds)
    target = resolve(name)
    with progress(f"measuring for {target.name}") as stages:
        found = calibrate(target, seconds=seconds, progress=stages)
    machine = found.machine
    path = store_machine(machine, target.name, datetime.now(UTC).isoformat(timespec="seconds"))
    if as_json:
        print_json({"target": target.name, "file": str(path), "machine": asdict(machine), "disturbed": found.disturbed})
        return
    _print(machine, target.vector_bytes, together=found.together)
    click.echo(f"\n{machine.name}, {machine.cores} cores, for {target.name}; kept in {path}")
    if found.disturbed:
        click.echo(f"others used this machine meanwhile ({', '.join(found.disturbed)}); do it again when it is idle")


def _print(machine: Machine, vector_bytes: int, *, together: bool) -> None:
    """One row per roof, of one core, and if they were measured `together` of what all of them share."""
    flops = 2 * machine.ghz * vector_bytes / 4
    table = make_table("roof of one core", ">per cycle", "", ">per second", ">generic")
    table.add_row("clock", "", "", f"{machine.ghz:.2f} GHz", f"{GENERIC.ghz:.2f} GHz")
    for what, rate, generic in (
        ("multiply-adds of registers", machine.vector_fma_per_cycle, GENERIC.vector_fma_per_cycle),
        ("with an operand from L1", machine.loaded_fma_per_cycle, GENERIC.loaded_fma_per_cycle),
        ("with a broadcast from L1", machine.broadcast_fma_per_cycle, GENERIC.broadcast_fma_per_cycle),
    ):
        table.add_row(what, f"{rate:.2f}", "vectors", f"{flops * rate:.1f} GFLOP/s", f"{generic:.2f}")
    for what, rate, generic in (
        (f"reading L1 ({size(machine.l1_bytes)})", machine.l1_bytes_per_cycle, GENERIC.l1_bytes_per_cycle),
        (f"reading L2 ({size(machine.l2_bytes)})", machine.l2_bytes_per_cycle, GENERIC.l2_bytes_per_cycle),
        (f"reading L3 ({size(machine.l3_bytes)})", machine.far_bytes_per_cycle, GENERIC.far_bytes_per_cycle),
        ("reading memory", machine.memory_bytes_per_cycle, GENERIC.memory_bytes_per_cycle),
    ):
        table.add_row(what, f"{rate:.1f}", "bytes", f"{machine.ghz * rate:.1f} GB/s", f"{generic:.1f}")
    shared = (
        ("reading L3", machine.far_bytes_per_cycle, machine.far_cores, GENERIC.far_cores),
        ("reading memory", machine.memory_bytes_per_cycle, machine.memory_cores, GENERIC.memory_cores),
    )
    for what, rate, cores, generic in shared if together else ():
        per_second = f"{machine.ghz * rate * cores:.1f} GB/s"
        table.add_row(f"{what}, {machine.cores} cores", "", f"{cores:.1f} of one", per_second, f"{generic:.1f}")
    print_table(table)
