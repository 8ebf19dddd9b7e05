"""Compile a model, or load one that was compiled."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparsec import artifact
from sparsec.artifact import Program
from sparsec.artifact.file import Contents, read_file
from sparsec.errors import UsageError
from sparsec.model import CompiledModel
from sparsec.runtime.processor import check
from sparsec.runtime.shapes import Shapes, sets_of
from sparsec.source import readable

if TYPE_CHECKING:
    from sparsec.cuda.network.packed import DeviceProgram
    from sparsec.frontends.torch import ExampleInputs
    from sparsec.source import Source

GPU = "cuda"  # the target, and the kind of its artifacts


def compile(
    source: Source,
    example_inputs: ExampleInputs | None = None,
    *,
    target: str = "native",
    shapes: Shapes | Sequence[Shapes] | None = None,
    threads: int | None = None,
    measurements: str | os.PathLike[str] | None = None,
    use_measurements: bool = True,
    weights: Mapping[str, object] | None = None,
    precision: str | None = None,
    storage: str = "fp32",
    progress: Callable[[str, int, int], None] | None = None,
) -> CompiledModel:
    """Compile a model for `target`, and load it if this processor is one; a model for another can be saved, not called.

    `source` is an ONNX file (path, bytes or `ModelProto`), a `.pt2` file, a `torch.nn.Module` with `example_inputs`, or
    an `ExportedProgram`. `target` is a name that `sparsec targets` lists: "cuda" is any NVIDIA GPU, and "cuda:a100,h100"
    has saved artifacts run on these kinds of GPUs with nothing but the driver ("cuda" alone: on an H100). `shapes` fixes
    the inputs of an ONNX model that have unknown dimensions, or is for some inputs of a module in the place of their examples';
    with a sequence of such mappings the model is for all of them, over the same weights, and runs what it is called with.
    `threads` is how many one call may use (default: all that the process may), and what kernels are chosen for (default: 1).
    Choices follow what `sparsec tune` measured on this machine, kept in the file `measurements` (default: the user's own, if
    there is one), unless `use_measurements` is False.
    `weights` replaces weights of the model by name, with arrays of NumPy, SciPy (sparse) or torch (sparse or not), or
    anything that speaks DLPack: sparse ones are never made dense, and dense ones are read in place.
    With `precision` "bf16" or "fp16" rather than "f32", layers of float32 multiply in bfloat16 or float16 where that is
    faster, with sums in float32 (of float16 products: of sums of a few in float16); the report says which do. GPUs have
    "fp16", unless it is "bf16": all that is float32 is rounded to that between steps, and sums are float32. With `storage`
    "fp16", weights of float32 are rounded to half the bytes in the artifact, and widened when it is loaded.
    `progress` is called with the stage, its number and the number of stages. Raises a `SparsecError` that names the
    node where something cannot be compiled.
    """
    try:
        from sparsec.driver import compile_programs  # loads MLIR and LLVM
        from sparsec.options import Options
    except ModuleNotFoundError as error:
        again = "pip install sparsec, with all that it depends on"
        raise UsageError("This installation runs models only.", got=str(error), next_step=again) from error

    kind, _, gpus = target.partition(":")
    database = Path(measurements) if measurements is not None else None
    chosen = precision or ("fp16" if kind == GPU else "f32")
    name = kind if kind == GPU else target
    sets = sets_of(shapes)
    options = Options(name, None, database, use_measurements, weights, chosen, storage=storage, threads=threads or 1)
    if kind != GPU:
        programs = compile_programs(readable(source), options, sets, example_inputs=example_inputs, progress=progress)
        return CompiledModel(programs, threads=threads)
    from sparsec.cuda.network.packed import to_be_packed
    from sparsec.device.program import compile_device

    if threads is not None or storage != "fp32":
        raise UsageError("Threads, and how weights are stored, cannot be chosen for GPUs.", got=target)
    plans = compile_device(readable(source), options, sets, example_inputs=example_inputs, progress=progress)
    return CompiledModel(to_be_packed(plans, gpus))


def load(path: str | os.PathLike[str], *, threads: int | None = None) -> CompiledModel:
    """Map an artifact that `save` or `sparsec compile` wrote; needs NumPy only, and no compiler.

    Raises `ArtifactError` if the file is damaged, of another version, or for another machine.
    """
    readers: dict[str, Callable[[Contents], tuple[Program, ...] | DeviceProgram]] = {
        artifact.KIND: _programs_of,
        GPU: _device_program_of,
    }
    return CompiledModel(read_file(path, readers), threads=threads)


def _programs_of(contents: Contents) -> tuple[Program, ...]:
    """Raises `ArtifactError` for programs that this processor cannot run."""
    programs = artifact.programs_of(contents)
    check(programs[0].target)
    return programs


def _device_program_of(contents: Contents) -> DeviceProgram:
    from sparsec.cuda.network.plan_file import program_of  # which programs for CPUs do without

    return program_of(contents)
