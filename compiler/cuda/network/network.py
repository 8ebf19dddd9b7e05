"""A network on one GPU, apart from its shapes: what the plans for all of them have in common."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from contextlib import ExitStack

from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.memory import Memory, Workspace
from sparsec.cuda.device.order import Event
from sparsec.cuda.network.encoded import EncodedWeights
from sparsec.cuda.network.forms import Forms
from sparsec.cuda.network.plan import DevicePlan
from sparsec.errors import TargetError


class Network:
    """Constants, weights in the forms that products need, one arena for the largest plan, and one order for all runs.

    Memory is given back with `close`, or when it is collected. Runs hold `lock` while they are put on a stream. Raises
    `TargetError` if the GPU is too old, or has too little memory.
    """

    def __init__(self, plans: Sequence[DevicePlan], on: Device, encoded: EncodedWeights) -> None:
        for plan in plans:
            _check_architecture(plan, on)
        self.device = on
        self.lock = threading.Lock()
        self.forms = Forms(plans, on, encoded)
        self._last = 0
        with on.current(), ExitStack() as kept:
            memory = Memory(self, on)
            kept.callback(memory.close)
            self.arena = memory.allocate(max(plan.arena_bytes for plan in plans)).address
            self.constants = memory.upload(plans[0].constants).address
            self.workspace = Workspace(memory)
            self._done = Event(on)
            kept.callback(self._done.close)
            kept.callback(on.synchronize)
            self._closed = weakref.finalize(self, kept.pop_all().close)
            self._closed.atexit = False

    def begin(self, stream: int) -> None:
        """What is put on the stream from now on waits for the runs before it, whichever streams they were on."""
        if self._last != stream:
            self._done.before(stream)

    def end(self, stream: int) -> None:
        """A run ends with what is on the stream now."""
        self._done.record(stream)
        self._last = stream

    def wait(self) -> None:
        """Wait here for all runs."""
        self._done.synchronize()

    def close(self) -> None:
        """Wait for what runs, and give everything back that no executor has."""
        with self.lock:
            self._closed()


def _check_architecture(plan: DevicePlan, on: Device) -> None:
    if on.architecture < plan.architecture:
        names = [f"{major}.{minor}" for major, minor in (plan.architecture, on.architecture)]
        raise TargetError(
            "The model was compiled for newer GPUs.",
            expected=f"compute capability {names[0]} or later",
            got=f"{on.name}, {names[1]}",
        )
