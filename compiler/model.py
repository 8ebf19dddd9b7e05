"""Compiled models in Python: compile or load, call, inspect, save."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sparsec import artifact
from sparsec.artifact import Program, TensorSpec
from sparsec.errors import InputError, ModelError
from sparsec.report import Report
from sparsec.runtime.session import Binding, Session
from sparsec.runtime.tensors import Array, Feeds
from sparsec.source import Kind, kind_of, read_exported

if TYPE_CHECKING:
    import onnx
    import torch
    from torch.export import ExportedProgram

    from sparsec.frontends.torch import ExampleInputs

    Source = str | os.PathLike[str] | bytes | onnx.ModelProto | torch.nn.Module | ExportedProgram
    Output = Array | torch.Tensor


def compile(
    source: Source,
    example_inputs: ExampleInputs | None = None,
    *,
    target: str = "native",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    threads: int | None = None,
    measurements: str | os.PathLike[str] | None = None,
    use_measurements: bool = True,
    weights: Mapping[str, object] | None = None,
    precision: str = "f32",
    storage: str = "fp32",
    progress: Callable[[str, int, int], None] | None = None,
) -> CompiledModel:
    """Compile a model for `target` and load it.

    `source` is an ONNX file (path, bytes or `ModelProto`), a `.pt2` file, a `torch.nn.Module` with `example_inputs`, or
    an `ExportedProgram`. `shapes` fixes the inputs of an ONNX model that have unknown dimensions; `threads` is how many
    one call may use (default: all that the process may). Choices follow what `sparsec tune` measured on this machine,
    kept in the file `measurements` (default: the user's own, if there is one), unless `use_measurements` is False.
    `weights` replaces weights of the model by name, with arrays of NumPy, SciPy (sparse) or torch (sparse or not), or
    anything that speaks DLPack: sparse ones are never made dense, and dense ones are read in place.
    With `precision` "bf16" or "fp16", layers of float32 multiply in bfloat16 or float16 where that is faster, with sums
    in float32 (of float16 products: of sums of a few in float16); the report says which do. With `storage` "fp16",
    weights of float32 are rounded to half the bytes in the artifact, and widened when it is loaded.
    `progress` is called with the stage, its number and the number of stages. Raises a `SparsecError` that names the
    node where something cannot be compiled.
    """
    from sparsec.driver import Options, compile_program  # loads MLIR and LLVM

    database = Path(measurements) if measurements is not None else None
    options = Options(target, shapes, database, use_measurements, weights, precision, storage=storage)
    program = compile_program(readable(source), options, example_inputs=example_inputs, progress=progress)
    return CompiledModel(program, threads=threads)


def load(path: str | os.PathLike[str], *, threads: int | None = None) -> CompiledModel:
    """Map an artifact that `save` or `sparsec compile` wrote; needs NumPy only, and no compiler.

    Raises `ArtifactError` if the file is damaged, of another version, or for another machine.
    """
    return CompiledModel(artifact.read(path), threads=threads)


def readable(source: Source) -> str | bytes | onnx.ModelProto | torch.nn.Module | ExportedProgram:
    """A path becomes what the driver takes: the path of an ONNX file, or the program in a `.pt2` file."""
    if not isinstance(source, (str, os.PathLike)):
        return source
    match kind_of(source):
        case Kind.EXPORTED_PROGRAM:
            return read_exported(source)
        case Kind.ARTIFACT:
            raise ModelError(
                "This is a compiled artifact, not a model.", where=str(source), next_step="load it with sparsec.load"
            )
        case Kind.ONNX:
            return os.fspath(source)


class CompiledModel:
    """A network that is ready to run; may be called from several threads at once."""

    def __init__(self, program: Program, *, threads: int | None = None) -> None:
        self._session = Session(program, threads=threads)

    def __call__(self, *args: object, **kwargs: object) -> Output | tuple[Output, ...]:
        """Run on tensors in the order of the inputs, or by name: NumPy, torch (on the CPU), DLPack.

        Returns the output, or a tuple of all outputs in order: torch tensors if one went in, else NumPy arrays. Raises
        `InputError`.
        """
        arrays = self._session.run(self._feeds(args, kwargs)).values()
        results: tuple[Output, ...] = tuple(arrays)
        torch = sys.modules.get("torch")
        if torch is not None and any(isinstance(value, torch.Tensor) for value in (*args, *kwargs.values())):
            results = tuple(_to_torch(array, spec) for array, spec in zip(arrays, self.outputs, strict=True))
        return results[0] if len(results) == 1 else results

    def bind(self, feeds: Feeds, *, out: Feeds | None = None) -> Binding:
        """A run on fixed tensors, checked once: each call of the result costs little more than the network.

        It reads what the arrays of `feeds` hold by then, and overwrites its `outputs`, by name (`out` if given).
        """
        return self._session.bind(feeds, out=out)

    def run(self, feeds: Feeds, *, out: Feeds | None = None) -> dict[str, Array]:
        """Run on one tensor per input, by name or in order.

        Returns arrays by output name, those of `out` if it is given.
        """
        return self._session.run(feeds, out=out)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Name, dtype and shape of each input."""
        return self._session.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Name, dtype and shape of each output."""
        return self._session.outputs

    @property
    def report(self) -> Report:
        """What was chosen for each layer, and why."""
        return Report.from_dict(self._session.program.report)

    @property
    def session(self) -> Session:
        """The runtime's session, for profiles and preallocated outputs."""
        return self._session

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the artifact, whole or not at all; raises `ArtifactError` if the path cannot be written."""
        artifact.write(self._session.program, Path(path))

    def __repr__(self) -> str:
        program = self._session.program
        inputs, outputs = (", ".join(map(str, specs)) for specs in (self.inputs, self.outputs))
        return f"<sparsec model {program.name!r} for {program.target.isa}: ({inputs}) -> ({outputs})>"

    def _feeds(self, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, object]:
        names = [spec.name for spec in self.inputs]
        if len(args) > len(names) or kwargs.keys() & set(names[: len(args)]):
            raise InputError(
                "The inputs are not the ones of this model.",
                expected="; ".join(map(str, self.inputs)),
                got=", ".join([f"{len(args)} in order", *kwargs]),
            )
        return {**dict(zip(names, args, strict=False)), **kwargs}


def _to_torch(array: Array, spec: TensorSpec) -> torch.Tensor:
    import torch

    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if spec.dtype == "bfloat16" else tensor
