"""Pruned networks in one table, and whether the goals are reached."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import geometric_mean

import click

from bench.sparse_models_rows import ModelRow
from bench.spmm_rows import OURS
from sparsec.cli.console import duration, make_table, print_table


def row_line(row: ModelRow) -> str:
    """One line for people."""
    ours = row.timings[OURS]
    ratios = [f"{name} {_ratio(row, name)}" for name in row.timings if name != OURS]
    faults = [f"{name} FAILED: {reason}" for name, reason in row.failed.items()]
    return "  ".join([f"{row.cell}: {duration(ours.median_ns)} ±{_spread(row):.0f} %", *ratios, *faults])


def summarise(rows: Sequence[ModelRow]) -> None:
    """Print everything."""
    if not rows:
        return
    peers = list(dict.fromkeys(name for row in rows for name in row.timings if name != OURS))
    table = make_table(
        *("network", "weights", "pattern", ">zeros", ">sparse layers", ">error", ">sparsec", ">±"),
        *(f">{name}" for name in peers),
        ">rounds",
    )
    for row in rows:
        cell = row.cell
        table.add_row(
            f"{cell.network} b{cell.batch}",
            row.weights,
            f"{cell.pattern} {100 * cell.sparsity:.0f} %" if cell.sparsity else cell.pattern,
            f"{100 * row.zeros:.0f} %",
            f"{row.sparse_layers} of {row.layers}",
            "WRONG" if OURS in row.failed else f"{row.errors[OURS]:.0e}",
            duration(row.timings[OURS].median_ns),
            f"{_spread(row):.0f} %",
            *(_ratio(row, name) if name in row.timings else "-" for name in peers),
            str(row.rounds),
        )
    first = rows[0].cell
    threads = "one thread" if first.threads == 1 else f"{first.threads} threads"
    click.echo(
        f"\n{first.precision}, {threads}. Below each engine: its time over ours, median (p10-p90) over rounds.\n"
    )
    print_table(table)
    for name in peers:
        ratios = [row.timings[name].ratio for row in rows if name in row.timings]
        click.echo(f"{name}: geometric mean {geometric_mean(ratios):.2f}x, worst {min(ratios):.2f}x")
    if wide := [str(row.cell) for row in rows if not row.settled]:
        click.echo(f"spread still wide: {', '.join(wide)}")
    for name, reason in {name: reason for row in rows for name, reason in row.absent.items()}.items():
        click.echo(f"absent: {name}: {reason}")
    for row in rows:
        for name, reason in row.failed.items():
            click.echo(f"{row.cell}: {name} failed: {reason}")


def _ratio(row: ModelRow, name: str) -> str:
    timing = row.timings[name]
    return f"{timing.ratio:.2f}x ({timing.ratio_p10:.2f}-{timing.ratio_p90:.2f})"


def _spread(row: ModelRow) -> float:
    ours = row.timings[OURS]
    return 50 * (ours.p90_ns - ours.p10_ns) / ours.median_ns
