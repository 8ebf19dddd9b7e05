"""What people see: tables on stdout, progress and messages on stderr. What programs read: JSON alone on stdout."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

PLAIN_WIDTH = 1000  # columns of a table that goes to a file or a pipe, so that no row breaks


class Stages(Protocol):
    """Takes the stage, its number, and the number of stages."""

    def __call__(self, stage: str, number: int, count: int, /) -> None: ...


def say(message: str) -> None:
    """A message for people."""
    click.echo(message, err=True)


def print_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(json_text(value))


def json_text(value: object) -> str:
    """A JSON document; numbers that JSON lacks become null."""
    return json.dumps(_finite(value), indent=1)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def print_table(table: Table) -> None:
    """Print a table as wide as the terminal, or `PLAIN_WIDTH` where there is none."""
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
    console.print(table)


def make_table(*columns: str, title: str | None = None) -> Table:
    """A table; a column whose name begins with ">" is of numbers."""
    table = Table(title=title, box=None, header_style="bold", title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return table


@contextmanager
def progress(title: str) -> Iterator[Stages]:
    """A bar on stderr while the block runs, if that is a terminal; gives what to call at each stage."""
    if not sys.stderr.isatty():
        yield _silent
        return
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[stage]}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=None, stage="")

        def show(stage: str, number: int, count: int, /) -> None:
            bars.update(task, completed=number, total=count, stage=stage)

        yield show


def _silent(stage: str, number: int, count: int, /) -> None:
    pass


def duration(nanoseconds: float | None) -> str:
    """In a unit that fits, e.g. "4.07 ms"."""
    if nanoseconds is None:
        return "-"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return (
                f"{nanoseconds / size:.3g} {unit}" if nanoseconds < 1000 * size else f"{nanoseconds / size:.0f} {unit}"
            )
    return f"{nanoseconds:.0f} ns"


def size(count: int) -> str:
    """Bytes in a unit that fits."""
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
