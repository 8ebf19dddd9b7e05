"""All networks that can be had, one row each, against ONNX Runtime on one thread; figures are kept as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

import sparsec
from bench import demo
from bench.measure import Measurement, measure
from bench.models_zoo import NAMES, ZooModel, example_arguments, export_onnx, load
from sparsec.cli.benchmark import machine
from sparsec.cli.console import duration, make_table, print_table, size
from sparsec.errors import SparsecError, UsageError
from sparsec.model import CompiledModel
from sparsec.reference import Engine, OnnxRuntime, TorchProgram

if TYPE_CHECKING:
    from torch.export import ExportedProgram

DEMO = "handlandmark"
RESULTS = Path(__file__).parent / "results" / "models.json"
ALL = (DEMO, *NAMES)
COLUMNS = (
    *("network", ">compile", ">load", ">artifact", ">sparse layers", ">max error", "check"),
    *(">sparsec", ">ONNX Runtime", ">ratio"),
)


def run(names: Sequence[str], seconds: float, json_file: Path) -> int:
    """Measure, print the table, write the JSON; returns the exit code: 1 if a network is wrong or fails."""
    if unknown := [name for name in names if name not in ALL]:
        raise click.UsageError(f"there is no network {', '.join(unknown)}; there are {', '.join(ALL)}")
    found: list[Measurement] = []
    missing: dict[str, UsageError] = {}
    failed: dict[str, SparsecError] = {}
    for name in names or ALL:
        try:
            model = _load(name)
        except UsageError as error:
            missing[name] = error
            continue
        try:
            found.append(_measure(model, seconds))
        except SparsecError as error:
            failed[name] = error
    _print(found, missing, failed)
    _write(json_file, found, missing, failed)
    wrong = [each.name for each in found if not each.verification.passed]
    return 1 if failed or wrong else 0


def _load(name: str) -> ZooModel:
    return ZooModel(DEMO, demo.NETWORK) if name == DEMO else load(name)


def _measure(model: ZooModel, seconds: float) -> Measurement:
    return measure(
        model.name,
        lambda: sparsec.compile(model.model, model.example_inputs, shapes=model.shapes or None, threads=1),
        lambda compiled: _reference(model, compiled),
        lambda: OnnxRuntime(_onnx(model), 1),
        seconds=seconds,
        say=_narrator(model.name),
    )


def _narrator(name: str) -> Callable[[str], None]:
    start = time.perf_counter()
    return lambda step: click.echo(f"{time.perf_counter() - start:6.1f} s  {name}: {step}", err=True)


def _reference(model: ZooModel, compiled: CompiledModel) -> Engine:
    if isinstance(model.model, (Path, bytes)):
        return OnnxRuntime(model.model, 1, exact=True)
    return TorchProgram(_export(model), compiled.inputs, 1)


def _export(model: ZooModel) -> ExportedProgram:
    import torch

    assert isinstance(model.model, torch.nn.Module)
    args, kwargs = example_arguments(model)
    with torch.no_grad():
        return torch.export.export(model.model, args, kwargs, strict=False)


def _onnx(model: ZooModel) -> Path | bytes:
    """What ONNX Runtime gets of a torch module: what torch's own exporter makes of it."""
    return model.model if isinstance(model.model, (Path, bytes)) else export_onnx(model)


def _print(found: Sequence[Measurement], missing: dict[str, UsageError], failed: dict[str, SparsecError]) -> None:
    table = make_table(
        "network",
        ">compile",
        ">load",
        ">artifact",
        ">sparse layers",
        ">max error",
        "check",
        ">sparsec",
        ">ONNX Runtime",
        ">ratio",
    )
    for each in found:
        ours, theirs = each.race.timings
        worst = max(
            (check.max_error / check.scale if check.scale else check.max_error) for check in each.verification.outputs
        )
        table.add_row(
            each.name,
            f"{each.compile_seconds:.1f} s",
            duration(each.load_seconds * 1e9),
            size(each.artifact_bytes),
            f"{each.sparse_layers} of {each.layers}",
            f"{worst:.1e}",
            "pass" if each.verification.passed else "FAIL",
            duration(ours.median_ns),
            duration(theirs.median_ns),
            f"{each.speedup:.2f}x",
        )
    print_table(table)
    click.echo("max error: relative to the largest value of the output. ratio: above 1 where sparsec is faster.")
    for name, error in failed.items():
        click.echo(f"\n{name} failed: {error}")
    for name, reason in missing.items():
        click.echo(f"\n{name} is not measured: {reason}")


def _write(
    path: Path, found: Sequence[Measurement], missing: dict[str, UsageError], failed: dict[str, SparsecError]
) -> None:
    document = {
        **machine(),
        "threads": 1,
        "python": sys.version.split()[0],
        "networks": [each.as_dict() for each in found],
        "failed": {name: str(error) for name, error in failed.items()},
        "missing": {name: str(error) for name, error in missing.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
