"""One network through everything: compile, save, load, verify, race against ONNX Runtime on one thread."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import sparsec
from sparsec.benchmark import Race, race
from sparsec.errors import UsageError
from sparsec.feeds import random_feeds
from sparsec.model import CompiledModel
from sparsec.reference import Engine
from sparsec.runtime.tensors import Array
from sparsec.verify import Verification, verify

LOADS = 7
URGENCY = 10


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was found out about one network; sizes in bytes, times in seconds. `race` has ours first, on one thread."""

    name: str
    compile_seconds: float
    load_seconds: float
    artifact_bytes: int
    layers: int
    sparse_layers: int
    verification: Verification
    race: Race

    @property
    def speedup(self) -> float:
        """How many times as long the peer takes, the median over rounds."""
        return self.race.timings[1].ratio

    def as_dict(self) -> dict[str, object]:
        """JSON-able."""
        return {**asdict(self), "verification": self.verification.as_dict()}


def measure(
    name: str,
    compile_it: Callable[[], CompiledModel],
    reference: Callable[[CompiledModel], Engine],
    peer: Callable[[], Engine],
    *,
    seconds: float,
    say: Callable[[str], None],
) -> Measurement:
    """Take a network through all steps; `say` is told of each. Raises a `SparsecError` where one fails."""
    say("compiling")
    start = time.perf_counter()
    compiled = compile_it()
    compile_seconds = time.perf_counter() - start
    with one_processor(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.sparsec"
        compiled.save(path)
        load_seconds = float(np.median([_load(path) for _ in range(LOADS)]))
        model = sparsec.load(path, threads=1)
        feeds = random_feeds(model.inputs)
        say("verifying")
        verification = verify(model, reference(model), feeds)
        say("measuring")
        result = race(_contestants(model, peer(), feeds), seconds=seconds)
        layers = model.report.layers
        return Measurement(
            name=name,
            compile_seconds=compile_seconds,
            load_seconds=load_seconds,
            artifact_bytes=path.stat().st_size,
            layers=len(layers),
            sparse_layers=sum(layer.format != "dense" for layer in layers),
            verification=verification,
            race=result,
        )


def _load(path: Path) -> float:
    start = time.perf_counter()
    sparsec.load(path, threads=1)
    return time.perf_counter() - start


def _contestants(model: CompiledModel, peer: Engine, feeds: Mapping[str, Array]) -> dict[str, Callable[[], object]]:
    out = model.run(feeds)
    return {"sparsec": lambda: model.run(feeds, out=out), peer.name: lambda: peer.run(feeds)}


@contextmanager
def urgent() -> Iterator[None]:
    """Before all ordinary processes: this thread, and those that it starts meanwhile. Raises `UsageError` without the right to."""
    ordinary = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(URGENCY))
    except PermissionError as error:
        raise UsageError("Only root may run before all other processes.", got=str(error)) from error
    try:
        yield
    finally:
        os.sched_setscheduler(0, *ordinary)


@contextmanager
def one_processor() -> Iterator[None]:
    """Keep this thread, and those that it starts meanwhile, on one processor: the last that the process may use."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
