"""`sparsec compile`"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sparsec.cli.console import print_json, say, size
from sparsec.cli.emit import emit_library, emit_text, emit_wasm
from sparsec.cli.models import compile_model, make_feeds, reference_of, require_runnable
from sparsec.cli.outputs import require_writable
from sparsec.cli.parameters import Shapes, chosen_for_option, compiles, json_option, one_shape, parse_shapes
from sparsec.cli.tune import tune_model
from sparsec.cli.verify import print_verification
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
    output = output or (Path(_stem(model) + SUFFIXES[emit]) if emit in (ARTIFACT, *FOLDERS) else None)
    if emit in FOLDERS:
        assert output is not None
        named = "wasm32" if emit == WASM and target == NATIVE else target
        options = _options(named, sets[0], tune_log, not no_tune_cache, precision, storage, threads)
        if output.exists() and not output.is_dir():
            raise UsageError("The output cannot be written.", where=str(output), expected="a folder", got="a file")
        inside = weights == "inside"
        if emit == WASM:
            return emit_wasm(model, output, options, weights_inside=inside)
        return emit_library(model, output, emit, options, weights_inside=inside)
    if output is not None:
        require_writable(output, text=emit != ARTIFACT)
    if check or seconds is not None:
        require_runnable(target)
    if seconds is not None:
        for shape in sets or [{}]:
            tune_model(model, target, shape, precision, seconds / max(len(sets), 1), tune_log, threads, quiet=as_json)
    if output is None or emit != ARTIFACT:
        options = _options(target, sets[0], tune_log, not no_tune_cache, precision, storage, threads)
        return emit_text(model, output, emit, options)
    start = time.perf_counter()
    compiled = compile_model(
        model,
        target,
        sets or {},
        precision,
        threads,
        storage=storage,
        measurements=tune_log,
        use_measurements=not no_tune_cache,
    )
    seconds = time.perf_counter() - start
    found = [compiled.at(each) for each in compiled.shapes]
    verifications = [_verify(model, each) for each in found] if check else []
    passed = all(each.passed for each in verifications)
    if passed:
        compiled.save(output)
    if as_json:
        print_json(_summary(found, output if passed else None, seconds, verifications))
    else:
        for each, verification in zip(found, verifications, strict=False):
            if len(found) > 1:
                click.echo(", ".join(map(str, each.inputs)))
            print_verification(verification)
        _tell(compiled, output, seconds) if passed else say("nothing was written")
    return 0 if passed else 1


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
    engine = reference_of(model, compiled)
    return verify(compiled, engine, make_feeds(compiled.inputs, {}, 0, fill=True))


def _options(
    target: str,
    shapes: Shapes,
    measurements: Path | None,
    use_measurements: bool,
    precision: str | None,
    storage: str,
    threads: int | None,
) -> Options:
    from sparsec.options import Options

    return Options(
        target,
        shapes,
        measurements,
        use_measurements,
        precision=precision or "f32",
        storage=storage,
        threads=threads or 1,
    )


def _summary(
    models: Sequence[CompiledModel], output: Path | None, seconds: float, verifications: Sequence[Verification]
) -> dict[str, object]:
    """Of a model for each of its shapes: of the first, as if it were the only one, and then of each."""
    first = models[0]
    found = first.summary
    shapes = [_shape_facts(*each) for each in zip_longest(models, verifications)]
    return {
        "output": str(output) if output else None,
        "bytes": output.stat().st_size if output else None,
        "target": found.target,
        "precision": first.report.precision,
        "storage": first.report.storage,
        **shapes[0],
        "weight_bytes": found.weight_bytes,
        "code_bytes": found.code_bytes,
        "compile_seconds": seconds,
        "shapes": shapes,
    }


def _shape_facts(compiled: CompiledModel, verification: Verification | None) -> dict[str, object]:
    return {
        "inputs": [{"name": s.name, "dtype": s.dtype, "shape": s.shape} for s in compiled.inputs],
        "outputs": [{"name": s.name, "dtype": s.dtype, "shape": s.shape} for s in compiled.outputs],
        "arena_bytes": compiled.summary.arena_bytes,
        "verification": verification.as_dict() if verification else None,
    }


def _tell(compiled: CompiledModel, output: Path, seconds: float) -> None:
    found = compiled.summary
    several = f" and {len(compiled.shapes)} shapes" if len(compiled.shapes) > 1 else ""
    sparse = sum(layer.format != "dense" for layer in compiled.report.layers)
    say(
        f"{output}: {size(output.stat().st_size)}, of it {size(found.weight_bytes)} of weights; "
        f"for {found.target}{several}, {len(compiled.report.layers)} layers, {sparse} of them sparse, in {seconds:.1f} s"
    )
