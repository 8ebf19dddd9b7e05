"""Compiled models in Python: compile or load, call, inspect, save."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from sparsec import artifact
from sparsec.artifact import Program, TensorSpec
from sparsec.artifact.file import Contents, read_file
from sparsec.errors import InputError, ModelError, UsageError
from sparsec.report import Report
from sparsec.runtime.processor import refusal
from sparsec.runtime.session import Binding, Session
from sparsec.runtime.shapes import Shapes, find, sets_of
from sparsec.runtime.tensors import Array, Feeds
from sparsec.source import Kind, kind_of, read_exported

if TYPE_CHECKING:
    import onnx
    import torch
    from torch.export import ExportedProgram

    from sparsec.cuda.network.binding import OnCopies, OnDevice
    from sparsec.cuda.network.packed import DeviceProgram
    from sparsec.cuda.network.plan import DevicePlan
    from sparsec.device_session import DeviceSession
    from sparsec.frontends.torch import ExampleInputs

    Source = str | os.PathLike[str] | bytes | onnx.ModelProto | torch.nn.Module | ExportedProgram
    Output = Array | torch.Tensor

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
    from sparsec.driver import compile_programs  # loads MLIR and LLVM
    from sparsec.options import Options

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
    from sparsec.device_program import compile_device

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
    if (why := refusal(programs[0].target)) is not None:
        raise why
    return programs


def _device_program_of(contents: Contents) -> DeviceProgram:
    from sparsec.cuda.network.plan_file import program_of  # which programs for CPUs do without

    return program_of(contents)


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


@dataclass(frozen=True, slots=True)
class Summary:
    """What was compiled: for which target; bytes of the weights as they are stored and of code, for all shapes, and of work
    memory."""

    target: str
    weight_bytes: int
    code_bytes: int
    arena_bytes: int


@dataclass(frozen=True, slots=True)
class Call:
    """A step of a program: the kernel that it calls, and the layer that it belongs to."""

    kernel: str
    layer: str


class CompiledModel:
    """A network that is ready to run; may be called from several threads at once.

    One that was compiled for several shapes runs those that it is called with. One for GPUs is loaded onto a GPU when it is
    called with tensors on that GPU, or with a host's: calls raise `TargetError` in one sentence where there is no GPU that it
    can run on. One for another processor can be asked and saved; calls raise `ArtifactError`.
    """

    def __init__(self, program: Program | Sequence[Program] | DeviceProgram, *, threads: int | None = None) -> None:
        self._gpus: DeviceSession | None = None
        self._host: tuple[Program, ...] = ()  # what is for processors,
        self._session: Session | None = None  # and runs it on this one
        if not isinstance(program, (Program, Sequence)):
            self._gpus = _on_gpus(program)
        else:
            self._host = (program,) if isinstance(program, Program) else tuple(program)
            if refusal(self._host[0].target) is None:
                self._session = Session(self._host, threads=threads)
        self._number = 0  # of the shapes that it tells of

    def __call__(self, *args: object, **kwargs: object) -> Output | tuple[Output, ...]:
        """Run on tensors in the order of the inputs, or by name: NumPy, torch, DLPack.

        Returns the output, or a tuple of all outputs in order: torch tensors if one went in, else NumPy arrays. Tensors of
        torch on a GPU go to a model for GPUs, on torch's current stream, and so do the results. Raises `InputError`.
        """
        feeds = self._feeds(args, kwargs)
        if self._gpus is not None and self._gpus.takes(feeds):
            on_gpu = cast("tuple[torch.Tensor, ...]", tuple(self._gpus.launch(feeds).values()))
            return on_gpu[0] if len(on_gpu) == 1 else on_gpu
        arrays = self._runner.run(feeds).values()
        results: tuple[Output, ...] = tuple(arrays)
        torch = sys.modules.get("torch")
        if torch is not None and any(isinstance(value, torch.Tensor) for value in (*args, *kwargs.values())):
            results = tuple(_to_torch(array, spec) for array, spec in zip(arrays, self.outputs, strict=True))
        return results[0] if len(results) == 1 else results

    def launch(self, feeds: Feeds, *, out: Feeds | None = None, stream: int | None = None) -> dict[str, object]:
        """Put a run on tensors on a GPU (DLPack) on a CUDA stream, and return the outputs by name, those of `out` if given.

        See `sparsec.device_session.DeviceSession.launch`. Raises `UsageError` for a model for CPUs.
        """
        if self._gpus is None:
            raise UsageError("This model is for a CPU.", next_step='compile it with target="cuda"')
        return self._gpus.launch(feeds, out=out, stream=stream)

    def bind(self, feeds: Feeds, *, out: Feeds | None = None) -> Binding | OnDevice | OnCopies:
        """A run on fixed tensors, checked once: each call of the result costs little more than the network.

        It reads what the arrays of `feeds` hold by then, and overwrites its `outputs`, by name (`out` if given). On a GPU,
        these are tensors on that GPU; a host's arrays are copied there now, and results stay there.
        """
        return self._runner.bind(feeds, out=out)

    def run(self, feeds: Feeds, *, out: Feeds | None = None) -> dict[str, Array]:
        """Run on one tensor per input, by name or in order, of the host.

        Returns arrays by output name, those of `out` if it is given.
        """
        return self._runner.run(feeds, out=out)

    def profile(self, feeds: Feeds, repeats: int = 10) -> NDArray[np.int64]:
        """Run `repeats` times and return nanoseconds, shape [repeats, calls], after one run that is not counted."""
        return self._runner.profile(feeds, repeats)

    def at(self, shapes: Shapes) -> CompiledModel:
        """The same model, of which `inputs`, `outputs`, `report`, `calls` and `summary` tell what is for these shapes.

        `shapes` has those of some inputs, by name, so that they are one set's. Calls are as before, for all shapes. Raises
        `UsageError` that names the shapes that there are.
        """
        other = copy(self)
        other._number = find(shapes, [program.inputs for program in self._programs])
        return other

    @property
    def shapes(self) -> tuple[dict[str, tuple[int, ...]], ...]:
        """All that it was compiled for: shapes of the inputs, by name."""
        return tuple({spec.name: spec.shape for spec in program.inputs} for program in self._programs)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Name, dtype and shape of each input; of several shapes the first, as in what follows."""
        return self._program.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Name, dtype and shape of each output."""
        return self._program.outputs

    @property
    def report(self) -> Report:
        """What was chosen for each layer, and why."""
        return Report.from_dict(self._program.report)

    @property
    def calls(self) -> tuple[Call, ...]:
        """The steps in their order."""
        if self._gpus is not None:
            return tuple(Call(*each) for each in self._gpus.calls(self._number))
        return tuple(Call(step.kernel, step.layer) for step in self._host[self._number].steps)

    @property
    def summary(self) -> Summary:
        """Its target and its size."""
        arena_bytes = self._program.arena_bytes
        if self._gpus is not None:
            return Summary(self._gpus.target, *self._gpus.sizes, arena_bytes)
        first, code = self._host[0], sum(len(program.code.image) for program in self._host)
        return Summary(first.target.isa, first.weights.nbytes, code, arena_bytes)

    @property
    def threads(self) -> int | None:
        """How many threads one run may use; None on a GPU, and of a model for another processor."""
        return self._session.threads if self._session is not None else None

    @property
    def runs_on(self) -> str:
        """What calls with a host's tensors use: processors or a GPU. Raises as a call does if there is no such thing here."""
        if self._gpus is not None:
            return self._gpus.runs_on
        threads = self.session.threads
        return f"{threads} thread{'s' if threads > 1 else ''}"

    @property
    def session(self) -> Session:
        """The runtime's session, for profiles and preallocated outputs.

        Raises `UsageError` for a model for GPUs, and `ArtifactError` for one for another processor.
        """
        if self._gpus is not None:
            raise UsageError("A model for GPUs has no session of processors.", next_step="use run, launch and profile")
        if self._session is None:
            why = refusal(self._host[0].target)
            assert why is not None, "or there would be one"
            raise why
        return self._session

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the artifact, whole or not at all; raises `ArtifactError` if the path cannot be written."""
        if self._gpus is not None:
            self._gpus.save(path)
        else:
            artifact.write_all(self._host, Path(path))

    def __repr__(self) -> str:
        inputs, outputs = (", ".join(map(str, specs)) for specs in (self.inputs, self.outputs))
        return f"<sparsec model {self._program.name!r} for {self.summary.target}: ({inputs}) -> ({outputs})>"

    @property
    def _runner(self) -> Session | DeviceSession:
        return self._gpus if self._gpus is not None else self.session

    @property
    def _programs(self) -> tuple[Program, ...] | tuple[DevicePlan, ...]:
        return self._gpus.programs if self._gpus is not None else self._host

    @property
    def _program(self) -> Program | DevicePlan:
        return self._programs[self._number]

    def _feeds(self, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, object]:
        names = [spec.name for spec in self.inputs]
        if len(args) > len(names) or kwargs.keys() & set(names[: len(args)]):
            raise InputError(
                "The inputs are not the ones of this model.",
                expected="; ".join(map(str, self.inputs)),
                got=", ".join([f"{len(args)} in order", *kwargs]),
            )
        return {**dict(zip(names, args, strict=False)), **kwargs}


def _on_gpus(program: DeviceProgram) -> DeviceSession:
    from sparsec.device_session import DeviceSession

    return DeviceSession(program)


def _to_torch(array: Array, spec: TensorSpec) -> torch.Tensor:
    import torch

    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if spec.dtype == "bfloat16" else tensor
