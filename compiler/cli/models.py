"""What the MODEL and ARTIFACT arguments name, opened; and their inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from sparsec.api import compile, load
from sparsec.artifact import TensorSpec
from sparsec.cli.console import progress
from sparsec.cli.interrupt import interrupts_held
from sparsec.cli.parameters import Shapes
from sparsec.errors import InputError, UsageError
from sparsec.feeds import checked, random_feeds, read_tensor
from sparsec.model import CompiledModel
from sparsec.reference import Engine, OnnxRuntime, TorchProgram
from sparsec.runtime.processor import check
from sparsec.runtime.tensors import Array
from sparsec.source import Kind, kind_of, read_exported
from sparsec.targets import GPU, resolve

if TYPE_CHECKING:
    from torch.export import ExportedProgram

RANDOM = "random"
NOTHING: Mapping[str, str] = {}


def compile_model(
    path: str,
    target: str,
    shapes: Shapes | Sequence[Shapes],
    precision: str | None,
    threads: int | None,
    *,
    storage: str = "fp32",
    measurements: Path | None = None,
    use_measurements: bool = True,
) -> CompiledModel:
    """Compile with a progress bar."""
    with interrupts_held():
        import_module("sparsec.driver")
    with progress(f"compiling {Path(path).name}") as stages:
        return compile(
            path,
            target=target,
            shapes=shapes,
            threads=threads,
            measurements=measurements,
            use_measurements=use_measurements,
            precision=precision,
            storage=storage,
            progress=stages,
        )


def open_model(
    path: str,
    target: str,
    shapes: Shapes,
    precision: str | None,
    threads: int | None,
    given: Mapping[str, str] = NOTHING,
) -> CompiledModel:
    """Load an artifact as `load_artifact` does, or compile a model."""
    if kind_of(path) is not Kind.ARTIFACT:
        return compile_model(path, target, shapes, precision, threads)
    return load_artifact(path, target, shapes, precision, threads, given)


def load_artifact(
    path: str,
    target: str,
    shapes: Shapes,
    precision: str | None,
    threads: int | None,
    given: Mapping[str, str] = NOTHING,
) -> CompiledModel:
    """Load an artifact, to tell of one of its shapes: of these or, without any, of those of the files `given` for inputs.

    Raises `UsageError` for other options of a compilation.
    """
    if target != "native" or precision is not None:
        raise UsageError("An artifact is compiled already: --target and --precision do not apply.", where=path)
    model = load(path, threads=threads)
    wanted = shapes if shapes or len(model.shapes) == 1 else _shapes_of(given, model.inputs)
    return model.at(wanted) if wanted else model


def _shapes_of(given: Mapping[str, str], specs: Sequence[TensorSpec]) -> Shapes:
    files = {spec.name: given[spec.name] for spec in specs if given.get(spec.name, RANDOM) != RANDOM}
    return {name: read_tensor(file).shape for name, file in files.items()}


def reference_of(path: str, model: CompiledModel, threads: int | None = None, *, exact: bool = False) -> Engine:
    """The engine that the model's file is made for, as fast as it is, or `exact`; raises `UsageError` for an artifact."""
    match kind_of(path):
        case Kind.ARTIFACT:
            raise UsageError("An artifact cannot be run by another engine.", where=path, next_step="name the model")
        case Kind.EXPORTED_PROGRAM:
            program: ExportedProgram = read_exported(path)
            return TorchProgram(program, model.inputs, threads)
        case Kind.ONNX:
            return OnnxRuntime(path, threads, exact=exact)


def make_feeds(specs: Sequence[TensorSpec], given: dict[str, str], seed: int, *, fill: bool) -> dict[str, Array]:
    """Tensors for all inputs.

    Files as `given`, random ones where it says so, or with `fill` wherever it says nothing.
    """
    expected = "; ".join(map(str, specs))
    if unknown := given.keys() - {spec.name for spec in specs}:
        raise InputError("The model has no such input.", expected=expected, got=", ".join(sorted(unknown)))
    missing = [spec.name for spec in specs if spec.name not in given]
    if missing and not fill:
        raise InputError(
            "Some inputs are not given.",
            expected=expected,
            got=", ".join(given) or "none",
            next_step=" ".join(f"--input {name}={RANDOM}" for name in missing),
        )
    feeds = random_feeds(specs, seed)
    for spec in specs:
        if given.get(spec.name, RANDOM) != RANDOM:
            feeds[spec.name] = checked(read_tensor(given[spec.name]), spec, given[spec.name])
    return feeds


def require_runnable(target: str) -> None:
    """Raise `ArtifactError` if this processor cannot run what is compiled for `target`: before the work, not after it."""
    if target.partition(":")[0] != GPU:
        check(resolve(target).spec)
