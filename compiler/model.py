"""Compiled models in Python: call, inspect, save."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from sparsec import artifact
from sparsec.artifact import Program, TensorSpec
from sparsec.errors import InputError, UsageError
from sparsec.report import Report
from sparsec.runtime.processor import check, refusal
from sparsec.runtime.session import Binding, Session
from sparsec.runtime.shapes import Shapes, find
from sparsec.runtime.tensors import Array, Feeds

if TYPE_CHECKING:
    import torch

    from sparsec.cuda.network.binding import OnCopies, OnDevice
    from sparsec.cuda.network.packed import DeviceProgram
    from sparsec.cuda.network.plan import DevicePlan
    from sparsec.device.session import DeviceSession

    Output: TypeAlias = Array | torch.Tensor


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

        See `sparsec.device.session.DeviceSession.launch`. Raises `UsageError` for a model for CPUs.
        """
        if self._gpus is None:
            raise UsageError("This model is for a CPU.", next_step='compile it with target="cuda"')
        return self._gpus.launch(feeds, out=out, stream=stream)

    def bind(self, feeds: Feeds, *, out: Feeds | None = None) -> Binding | OnDevice | OnCopies:
        """A run on fixed tensors, checked once: each call of the result costs little more than the network.

        It reads what the arrays of `feeds` hold by then, and overwrites its `outputs`, by name (`out` if given). On a GPU,
        these are tensors on that GPU; a host's arrays are copied there now, and results stay there. `session.bind` of a
        model for this processor is the same, with the types of arrays.
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
            check(self._host[0].target)
        assert self._session is not None, "or the check would have raised"
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
    from sparsec.device.session import DeviceSession

    return DeviceSession(program)


def _to_torch(array: Array, spec: TensorSpec) -> torch.Tensor:
    import torch

    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if spec.dtype == "bfloat16" else tensor
