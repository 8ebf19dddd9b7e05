"""The demo: the network of this repository, compiled, verified and raced against ONNX Runtime, told in one page."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import sparsec
from bench.measure import Measurement, measure
from sparsec.cli.benchmark import print_race
from sparsec.cli.console import duration, size
from sparsec.cli.verify import print_verification
from sparsec.cost.host import cpu_name
from sparsec.errors import SparsecError
from sparsec.reference import OnnxRuntime

NETWORK = Path(__file__).parent / "models" / "handlandmark.onnx.gz"


def run(seconds: float) -> int:
    """Print the page; returns the exit code."""
    click.echo("sparsec demo: MediaPipe's hand-landmark network, which its makers trained sparse (see NOTICE)")
    click.echo(f"on {cpu_name()}, one thread\n")
    try:
        found = measure(
            "handlandmark",
            lambda: sparsec.compile(NETWORK, threads=1),
            lambda _: OnnxRuntime(NETWORK, 1),
            lambda: OnnxRuntime(NETWORK, 1),
            seconds=seconds,
            say=lambda step: click.echo(f"{step} ...", err=True) if sys.stderr.isatty() else None,
        )
    except SparsecError as error:
        click.echo(f"error: {error}", err=True)
        return 2
    _tell(found)
    return 0 if found.verification.passed else 1


def _tell(found: Measurement) -> None:
    ours, theirs = found.race.timings
    click.echo(
        f"compiled in     {found.compile_seconds:.1f} s: {found.layers} layers, {found.sparse_layers} of them sparse"
    )
    click.echo(f"artifact        {size(found.artifact_bytes)}, loads in {duration(found.load_seconds * 1e9)}\n")
    print_verification(found.verification)
    click.echo()
    print_race(found.race, "1 thread")
    verdict = "verified" if found.verification.passed else "WRONG"
    click.echo(
        f"\n{verdict}: {duration(ours.median_ns)} per image, {found.speedup:.2f} times as fast as {theirs.name} "
        f"({duration(theirs.median_ns)})"
    )
