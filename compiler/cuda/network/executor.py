"""A plan on one GPU: its kernels, its graphs, and runs on addresses, in the order of the caller's streams."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.device.driver import Device, Function
from sparsec.cuda.device.graphs import Graphs
from sparsec.cuda.device.order import Event, Stream, is_capturing
from sparsec.cuda.network import steps
from sparsec.cuda.network.network import Network
from sparsec.cuda.network.overlap import overlapping
from sparsec.cuda.network.plan import DevicePlan, Launch, Product
from sparsec.cuda.network.race import fastest
from sparsec.cuda.network.resident import Resident, residents, use_of
from sparsec.cuda.network.steps import Loaded, Places
from sparsec.cuda.products.dense import DenseKernel, DenseWeight
from sparsec.errors import InputError, UsageError

_STATUS_BYTES = 8


class Executor:
    """A plan of a network, loaded: weights in the forms that its products need, kernels ready.

    What it has is given back with `close`, or when it is collected. Runs of all plans of a network share one arena, so those
    on several streams wait for each other. Raises `TargetError` if the GPU lacks what the plan needs, memory for instance.
    """

    def __init__(self, plan: DevicePlan, network: Network) -> None:
        on = network.device
        self.plan = plan
        self.device = on
        self._network = network
        with network.lock, on.current(), ExitStack() as kept:
            network.wait()  # for what uses the arena, as trying out does
            functions = _functions(plan, on, kept)
            loaded = Loaded(on, functions, {}, network.workspace)
            with self._stand_ins() as places:
                weights = residents(plan, network.forms, _Loader(loaded, places))
                self._loaded = replace(loaded, weights=weights)
                self._try_out(places)
            self._graphs = Graphs(on)
            kept.callback(self._graphs.close)
            kept.callback(on.synchronize)
            self._closed = weakref.finalize(self, kept.pop_all().close)
            self._closed.atexit = False

    def run(self, inputs: Sequence[int], outputs: Sequence[int], stream: int) -> None:
        """Put a run on tensors at these addresses on a stream, whichever runs before it were on.

        All are row-major without gaps, at multiples of 16. If the network checks values, this waits for the run, and raises
        `InputError` for those that it cannot take. If the stream is being captured, the run becomes part of that graph, which
        nothing checks, and which must not run at the same time as others.
        """
        places, network = self._places(inputs, outputs), self._network
        with network.lock, self.device.current():
            if not self._closed.alive:
                raise UsageError("The model is closed.", next_step="load it again")
            if is_capturing(self.device, stream):
                self._launch(places, stream)
                return
            network.begin(stream)
            self._graphs.launch((*inputs, *outputs), partial(self._launch, places), stream)
            network.end(stream)
            self._check_values()

    def profile(self, inputs: Sequence[int], outputs: Sequence[int], repeats: int) -> NDArray[np.int64]:
        """Nanoseconds on the GPU [repeats, steps], in a graph where a step begins when the one before it has ended; waits."""
        places, network = self._places(inputs, outputs), self._network
        times = np.zeros((repeats, len(self.plan.steps)), np.int64)
        with network.lock, self.device.current(), ExitStack() as kept:
            stream, graphs = Stream(self.device), Graphs(self.device)
            kept.callback(stream.close)
            kept.callback(graphs.close)
            events = [Event(self.device, timed=True) for _ in range(len(self.plan.steps) + 1)]
            for event in events:
                kept.callback(event.close)
            network.wait()
            for row in times:
                graphs.launch((), partial(self._launch_timed, places, events), stream.handle)
                stream.synchronize()
                row[:] = [after.nanoseconds_since(before) for before, after in pairwise(events)]
        return times

    def close(self) -> None:
        """Wait for what runs, and give everything back; further runs raise `UsageError`."""
        with self._network.lock:
            self._closed()

    def _places(self, inputs: Sequence[int], outputs: Sequence[int]) -> Places:
        return Places(self._network.arena, self._network.constants, tuple(inputs), tuple(outputs))

    def _launch(self, places: Places, stream: int) -> None:
        self._reset(stream)
        for step in self.plan.steps:
            steps.launch(step, self._loaded, places, stream)

    def _launch_timed(self, places: Places, events: Sequence[Event], stream: int) -> None:
        self._reset(stream)
        events[0].record_in_graph(stream)
        for step, event in zip(self.plan.steps, events[1:], strict=True):
            steps.launch(step, self._loaded, places, stream)
            event.record_in_graph(stream)

    def _check_values(self) -> None:
        if self.plan.status is None:
            return
        self._network.wait()
        status = ctypes.c_int64()
        self.device.call("cuMemcpyDtoH_v2", ctypes.byref(status), self._network.arena + self.plan.status, _STATUS_BYTES)
        if status.value:
            failed = self.plan.complaints[status.value - 1]
            raise InputError(f"A check failed while the model ran: {failed.what}.", where=failed.where)

    def _reset(self, stream: int) -> None:
        if self.plan.status is not None:
            self.device.call("cuMemsetD8Async", self._network.arena + self.plan.status, 0, _STATUS_BYTES, stream)

    @contextmanager
    def _stand_ins(self) -> Iterator[Places]:
        """With inputs and outputs of zeros."""
        with ExitStack() as kept:
            addresses: list[list[int]] = []
            for specs in (self.plan.inputs, self.plan.outputs):
                buffers = [self.device.zeros(spec.nbytes) for spec in specs]
                for buffer in buffers:
                    kept.callback(self.device.free, buffer)
                addresses.append([buffer.address for buffer in buffers])
            yield self._places(*addresses)

    def _try_out(self, places: Places) -> None:
        """Run once: kernels are loaded and work memory is there when a run is recorded."""
        stream = Stream(self.device)
        try:
            self._launch(places, stream.handle)
            stream.synchronize()
        finally:
            stream.close()


@dataclass(frozen=True, slots=True)
class _Loader:
    """Tries products out, at these places, before there are weights."""

    loaded: Loaded
    places: Places

    def dense_kernels(self, step: Product, weight: DenseWeight) -> Sequence[DenseKernel]:
        tail = steps.epilogue_of(step.tail, self.places)
        return weight.kernels(*steps.dense_operands(step, weight, self.places), tail)

    def fastest(self, step: Product, forms: Sequence[Resident]) -> int:
        launches = [
            partial(steps.launch, step, replace(self.loaded, weights={use_of(step): form}), self.places)
            for form in forms
        ]
        return fastest(self.loaded.device, launches)


def _functions(plan: DevicePlan, on: Device, kept: ExitStack) -> dict[tuple[str, int], Function]:
    """Those of the plan's own code, loaded until `kept` ends."""
    wanted = {(step.function, step.shared_bytes) for step in plan.steps if isinstance(step, Launch)}
    if not wanted:
        return {}
    module = on.module((overlapping(plan.ptx) if on.overlaps else plan.ptx).encode() + b"\0")
    kept.callback(on.unload, module)
    return {each: on.function(module, *each) for each in sorted(wanted)}
