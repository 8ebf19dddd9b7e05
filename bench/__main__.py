"""`python -m bench demo`, `python -m bench models` and `python -m bench nodes`."""

from __future__ import annotations

from pathlib import Path

import click

from bench import demo, models, onnx_nodes


@click.group()
def bench() -> None:
    """Compile, verify and time real networks against ONNX Runtime."""


@bench.command("demo")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="How long to measure.")
def _demo(seconds: float) -> None:
    """The network of this repository: one table, in words."""
    raise SystemExit(demo.run(seconds))


@bench.command("models")
@click.argument("names", nargs=-1)
@click.option("--seconds", type=float, default=5.0, show_default=True, help="How long to measure each.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), default=models.RESULTS, show_default=True)
def _models(names: tuple[str, ...], seconds: float, json_file: Path) -> None:
    """All networks that can be had, or those NAMED; what is missing is listed with the command that installs it."""
    raise SystemExit(models.run(names, seconds, json_file))


@bench.command("nodes")
@click.argument("pattern", default="")
def _nodes(pattern: str) -> None:
    """The ONNX backend node tests whose names match PATTERN, or all: passed, refused, wrong, crashed."""
    raise SystemExit(onnx_nodes.main(pattern))


if __name__ == "__main__":
    bench()
