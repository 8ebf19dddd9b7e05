"""A loaded model for GPUs: tensors in, tensors out, where they are, or through copies for a host's arrays."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact import TensorSpec
from sparsec.cuda.device.driver import device
from sparsec.cuda.network import arguments, plan_file
from sparsec.cuda.network.binding import OnCopies, OnDevice
from sparsec.cuda.network.encoded import EncodedWeights
from sparsec.cuda.network.executor import Executor
from sparsec.cuda.network.network import Network
from sparsec.cuda.network.packed import DeviceProgram, packed
from sparsec.cuda.network.plan import Attention, BatchedProduct, Convolution, DevicePlan, Launch, Pool, Product, Step
from sparsec.cuda.network.staging import Staging
from sparsec.errors import UsageError
from sparsec.runtime import tensors
from sparsec.runtime.shapes import pick
from sparsec.runtime.tensors import Array, Feeds

HOST_GPU = 0  # that runs on a host's arrays use


class DeviceSession:
    """Plans of a network, each loaded onto a GPU when the first tensors of its shapes on that GPU, or of the host, come.

    They share the weights there. Without more said, the first is meant. It may be called from several threads; runs on one GPU
    are one after another. Calls raise `TargetError` in one sentence
    if there is no GPU that can be used, or if it lacks something that the plan needs.
    """

    def __init__(self, program: DeviceProgram) -> None:
        self._program = program
        self._inputs = [plan.inputs for plan in program.plans]
        self._encoded = EncodedWeights(program.encoded, keeps=not program.images)  # for `save`
        self._lock = threading.Lock()
        self._networks: dict[int, Network] = {}  # by the number of a GPU
        self._executors: dict[tuple[int, int], Executor] = {}  # by that, and the number of a plan
        self._stagings: dict[int, Staging] = {}  # by the number of a plan
        self._is_closed = False

    @property
    def program(self) -> DeviceProgram:
        """What is to be loaded."""
        return self._program

    @property
    def programs(self) -> tuple[DevicePlan, ...]:
        """One for each shape."""
        return self._program.plans

    @property
    def target(self) -> str:
        """What it was compiled for: the oldest architecture, and kinds of GPUs that need nothing but the driver."""
        major, minor = self.programs[0].architecture
        return f"cuda (sm_{major}{minor} and later{''.join(f', {name}' for name in self._program.gpus)})"

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of weights and constants, and of code, for all shapes."""
        plan, images = self.programs[0], self._program.images
        arrays = {id(array): array.nbytes for each in plan.weights for array in each.arrays}
        code = sum(len(each.ptx) for each in self.programs) + sum(map(len, images.values()))
        return plan.constants.nbytes + sum(arrays.values()), code

    def calls(self, number: int) -> tuple[tuple[str, str], ...]:
        """The kernel and the layer of each step of a plan; of products, the pattern of the weight stands for the kernel."""
        plan = self.programs[number]
        return tuple((_kernel(step, plan), step.layer) for step in plan.steps)

    @property
    def runs_on(self) -> str:
        """The GPU that runs on a host's arrays use; raises `TargetError`."""
        on = device(HOST_GPU)
        return f"{on.name}, driver for CUDA {on.driver}"

    def takes(self, feeds: Mapping[str, object]) -> bool:
        """Whether `launch` is for these tensors, as one of them is on a GPU."""
        return any(arguments.is_on_gpu(value) for value in feeds.values())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the artifact, with machine code for the GPUs that it is for; raises `ArtifactError`."""
        plan_file.write(packed(self._program, self._encoded), path)

    def launch(self, feeds: Feeds, *, out: Feeds | None = None, stream: int | None = None) -> dict[str, object]:
        """Put a run on tensors on a GPU on a stream, and return the outputs, by name.

        `feeds` has one DLPack tensor per input, by name or in order, and `out` one per output; without it the outputs are
        torch's. `stream` is a CUDA stream's handle: without one, torch's current stream, or the legacy default stream for
        tensors of others. The call does not wait for the run, unless the network checks values: then it raises `InputError`
        for those that it cannot take (but not where the stream is being captured in a graph). Raises `InputError` for
        tensors of other shapes, dtypes or places.
        """
        placed = self._placed(feeds, out, can_copy=stream is None)
        placed(stream)
        return placed.outputs

    def run(self, feeds: Feeds, *, out: Feeds | None = None) -> dict[str, Array]:
        """Run once on a host's arrays and return outputs by name, as `Session.run` does; the copies are waited for."""
        number = pick(feeds, self._inputs)
        plan = self.programs[number]
        arrays = _readable(feeds, plan.inputs)
        if out is None:
            results = [tensors.fresh(spec) for spec in plan.outputs]
        else:
            given = tensors.match(out, plan.outputs, "output")
            results = [tensors.writable(*pair) for pair in zip(given, plan.outputs, strict=True)]
        staging = self._staged(number)
        with self._lock:
            staging.give(arrays)
            staging.run()
            staging.take(results)
        return {spec.name: array for spec, array in zip(plan.outputs, results, strict=True)}

    __call__ = run

    def bind(self, feeds: Feeds, *, out: Feeds | None = None) -> OnDevice | OnCopies:
        """A run on fixed tensors, checked now, once: each call of the result reads what they hold by then.

        For tensors on a GPU, calls are as `launch`. A host's arrays are copied to the GPU now, and results stay there, so
        there is no `out`. Raises `InputError`, also for tensors that `launch` would have to copy first.
        """
        values = feeds.values() if isinstance(feeds, Mapping) else feeds
        if any(arguments.is_on_gpu(value) for value in values):
            return self._placed(feeds, out, can_copy=False)
        if out is not None:
            raise UsageError(
                "What is bound to copies on a GPU leaves its outputs there.", next_step="bind tensors on a GPU"
            )
        number = pick(feeds, self._inputs)
        arrays = _readable(feeds, self._inputs[number])
        staging = Staging(self._executor(HOST_GPU, number))
        staging.give(arrays)
        return OnCopies(staging)

    def profile(self, feeds: Feeds, repeats: int = 10) -> NDArray[np.int64]:
        """Run `repeats` times and return nanoseconds on the GPU, shape [repeats, steps], after one run that is not counted."""
        if repeats < 1:
            raise UsageError("A profile needs at least one run.", got=str(repeats))
        self.run(feeds)
        number = pick(feeds, self._inputs)
        return self._executor(HOST_GPU, number).profile(*self._staged(number).addresses, repeats)

    def close(self) -> None:
        """Wait for what runs, and give the GPU's memory back; further calls raise `UsageError`."""
        with self._lock:
            self._is_closed = True
            self._stagings.clear()
            for executor in self._executors.values():
                executor.close()
            self._executors.clear()
            for network in self._networks.values():
                network.close()
            self._networks.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _placed(self, feeds: Feeds, out: Feeds | None, *, can_copy: bool) -> OnDevice:
        """A run on tensors on a GPU; `can_copy` says whether an input may be copied on torch's current stream."""
        number = pick(feeds, self._inputs)
        plan = self.programs[number]
        given = tensors.match(feeds, plan.inputs, "input")
        on = device(arguments.gpu_of(given))
        if can_copy:
            given = [arguments.read_in_place(*each) for each in zip(given, plan.inputs, strict=True)]
        made = arguments.empty_like_torch(plan.outputs, given, on) if out is None else None
        results = made or tensors.match(out or (), plan.outputs, "output")
        inputs, outputs = (
            [arguments.address(value, spec, what, on) for value, spec in zip(values, specs, strict=True)]
            for values, specs, what in ((given, plan.inputs, "input"), (results, plan.outputs, "output"))
        )
        if made is None:
            read, written = zip(inputs, plan.inputs, strict=True), zip(outputs, plan.outputs, strict=True)
            arguments.check_apart(list(written), list(read))
        named = {spec.name: value for spec, value in zip(plan.outputs, results, strict=True)}
        return OnDevice(self._executor(on.index, number), given, inputs, outputs, named)

    def _executor(self, index: int, number: int) -> Executor:
        """The plan of this number on the GPU of this index."""
        with self._lock:
            if self._is_closed:
                raise UsageError("The session is closed.", next_step="open a new one")
            if index not in self._networks:
                on = device(index)
                on.images.update(self._program.images)
                self._networks[index] = Network(self.programs, on, self._encoded)
            if (index, number) not in self._executors:
                self._executors[index, number] = Executor(self.programs[number], self._networks[index])
            return self._executors[index, number]

    def _staged(self, number: int) -> Staging:
        executor = self._executor(HOST_GPU, number)
        with self._lock:
            if number not in self._stagings:
                self._stagings[number] = Staging(executor)
            return self._stagings[number]


def _readable(feeds: Feeds, specs: Sequence[TensorSpec]) -> list[Array]:
    """A host's arrays, in the order of the inputs."""
    return [tensors.readable(*pair) for pair in zip(tensors.match(feeds, specs, "input"), specs, strict=True)]


def _kernel(step: Step, plan: DevicePlan) -> str:
    match step:
        case Launch():
            return step.function
        case Product():
            return f"product ({plan.weights[step.weight].pattern or 'dense'})"
        case BatchedProduct():
            return "product of activations"
        case Attention():
            return "attention"
        case Convolution():
            return "convolution"
        case Pool():
            return "maximum of windows"
