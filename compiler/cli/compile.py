"""`sparsec compile`"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sparsec.cli.console import print_json, say
from sparsec.cli.emit import emit_library, emit_text, emit_wasm
from sparsec.cli.models import compile_model, make_feeds, reference_of, require_runnable
from sparsec.cli.outputs import require_writable
from sparsec.cli.parameters import Shapes, chosen_for_option, compiles, json_option, one_shape, parse_shapes
from sparsec.cli.tune import tune_model
from sparsec.cli.verify import print_verification
from sparsec.cli.written import sentence, summary
from sparsec.errors import UsageError
from sparsec.model import CompiledModel
from sparsec.targets import NATIVE
from sparsec.tune.budget import parse_budget
from sparsec.verify import Verification, verify

if TYPE_CHECKING:
    from sparsec.options import Options

ARTIFACT, WASM, STATIC, SHARED = "artifact", "wasm", "static", "shared"
FOLDERS = (WASM, STATIC, SHARED)  # kinds of output that are folders
SUFFIXES = {
    ARTIFACT: ".sparsec",
    WASM: "-wasm",
    STATIC: "-static",
    SHARED: "-shared",
    "mlir": ".mlir",
    "llvm": ".ll",
    "asm": ".s",
}


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="[default: MODEL's name, here]")
@compiles
@click.option(
    "--emit",
    type=click.Choice(list(SUFFIXES)),
    default=ARTIFACT,
    show_default=True,
    help="What to write: a file; for wasm, static and shared a folder; text goes to stdout unless -o is given.",
)
@click.option(
    "--weights",
    type=click.Choice(["inside", "beside"]),
    default="inside",
    show_default=True,
    help="With --emit wasm, static or shared: the weights in the module or library, or in a file of their own.",
)
@click.option(
    "--storage",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="How weights of float32 are stored, but for GPUs; as fp16, rounded to half the bytes and widened before the first run.",
)
@click.option("--verify", "check", is_flag=True, help="Check against the reference first; if it fails, write nothing.")
@click.option("--tune", metavar="TIME", help="Measure candidates for that long first, e.g. 60s; see `sparsec tune`.")
@click.option(
    "--tune-log",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Use the measurements in FILE, and keep those of --tune there [default: the user's own].",
)
@click.option("--no-tune-cache", is_flag=True, help="Follow the cost model only, whatever was measured.")
@chosen_for_option
@json_option
def command(
    model: str,
    output: Path | None,
    target: str,
    shapes: tuple[str, ...],
    precision: str | None,
    emit: str,
    weights: str,
    storage: str,
    check: bool,
    tune: str | None,
    tune_log: Path | None,
    no_tune_cache: bool,
    threads: int | None,
    as_json: bool,
) -> int:
    """Compile MODEL (.onnx, .onnx.gz or .pt2) to one file that runs without the compiler.

    A name that --shape names again begins another set of shapes: the file is for all of them, and runs what it is given.
    `sparsec run` and `sparsec.load` read it. --emit wasm, for the target wasm32, makes a package for browsers and Node;
    --emit static or shared makes a library for programs in C, with a header.
    """
    sets = parse_shapes(shapes) if emit == ARTIFACT else [one_shape(shapes, f"--emit {emit}")]
    if no_tune_cache and (tune is not None or tune_log is not None):
        raise click.UsageError("--no-tune-cache goes with neither --tune nor --tune-log")
    seconds = parse_budget(tune, "--tune") if tune is not None else None
    _require_fitting(emit, weights, storage, for_artifacts=check or as_json)
    target = "wasm32" if emit == WASM and target == NATIVE else target
    output = output or (Path(_stem(model) + SUFFIXES[emit]) if emit in (ARTIFACT, *FOLDERS) else None)
    if output is not None:
        _require_place(output, emit, model)
    if check or seconds is not None:
        require_runnable(target)
    job = Job(model, target, sets, precision, storage, threads, tune_log, use_measurements=not no_tune_cache)
    if seconds is not None:
        for shape in sets or [{}]:
            tune_model(model, target, shape, precision, seconds / max(len(sets), 1), tune_log, threads, quiet=as_json)
    if emit == ARTIFACT:
        assert output is not None
        return _write_artifact(job, output, check=check, as_json=as_json)
    if output is None or emit not in FOLDERS:
        return emit_text(model, output, emit, job.options())
    inside = weights == "inside"
    if emit == WASM:
        return emit_wasm(model, output, job.options(), weights_inside=inside)
    return emit_library(model, output, emit, job.options(), weights_inside=inside)


@dataclass(frozen=True, slots=True)
class Job:
    """What to compile, and how: the options of the command as they were given."""

    model: str
    target: str
    sets: Sequence[Shapes]
    precision: str | None
    storage: str
    threads: int | None
    measurements: Path | None
    use_measurements: bool

    def options(self) -> Options:
        """For what is for one set of shapes."""
        from sparsec.options import Options

        (shapes,) = self.sets
        return Options(
            self.target,
            shapes,
            self.measurements,
            self.use_measurements,
            precision=self.precision or "f32",
            storage=self.storage,
            threads=self.threads or 1,
        )

    def compiled(self) -> CompiledModel:
        """For all sets of shapes."""
        return compile_model(
            self.model,
            self.target,
            self.sets or {},
            self.precision,
            self.threads,
            storage=self.storage,
            measurements=self.measurements,
            use_measurements=self.use_measurements,
        )


def _write_artifact(job: Job, output: Path, *, check: bool, as_json: bool) -> int:
    """Compile, verify if `check`, write, and say so; returns the exit code."""
    start = time.perf_counter()
    compiled = job.compiled()
    seconds = time.perf_counter() - start
    models = [compiled.at(each) for each in compiled.shapes]
    verifications = [_verify(job.model, each) for each in models] if check else []
    passed = all(each.passed for each in verifications)
    if passed:
        compiled.save(output)
    if as_json:
        print_json(summary(models, output if passed else None, seconds, verifications))
        return 0 if passed else 1
    for model, verification in zip(models, verifications, strict=False):
        if len(models) > 1:
            click.echo(", ".join(map(str, model.inputs)))
        print_verification(verification)
    say(sentence(compiled, output, seconds) if passed else "nothing was written")
    return 0 if passed else 1


def _require_place(output: Path, emit: str, model: str) -> None:
    """Raise `UsageError` if what is written cannot be at `output`."""
    if emit not in FOLDERS:
        require_writable(output, text=emit != ARTIFACT)
    elif output.exists() and not output.is_dir():
        raise UsageError("The output cannot be written.", where=str(output), expected="a folder", got="a file")
    if output.exists() and Path(model).exists() and output.samefile(model):
        raise UsageError("The output cannot be written.", where=str(output), got="the model itself")


def _require_fitting(emit: str, weights: str, storage: str, *, for_artifacts: bool) -> None:
    """Raise `click.UsageError` for options that do not go with what is written."""
    if emit != ARTIFACT and for_artifacts:
        raise click.UsageError("--verify and --json go with --emit artifact only")
    if weights != "inside" and emit not in FOLDERS:
        raise click.UsageError(f"--weights goes with --emit {', '.join(FOLDERS)} only")
    if storage != "fp32" and emit not in (ARTIFACT, *FOLDERS):
        raise click.UsageError(f"--storage goes with --emit {', '.join((ARTIFACT, *FOLDERS))} only")


def _stem(model: str) -> str:
    return Path(model).name.removesuffix(".gz").removesuffix(".onnx").removesuffix(".pt2")


def _verify(model: str, compiled: CompiledModel) -> Verification:
    engine = reference_of(model, compiled, exact=True)
    return verify(compiled, engine, make_feeds(compiled.inputs, {}, 0, fill=True))
