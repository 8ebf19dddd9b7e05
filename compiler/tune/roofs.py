"""Measuring the roofs of one core: compiles the probes of `sparsec.cost.calibrate` and times them in turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.artifact import Buffer, Program, Space, Step, TensorSpec
from sparsec.cost.calibrate import Probe, machine_of, probes
from sparsec.cost.host import cache_sizes, core_count, machine_id
from sparsec.cost.machine import Machine
from sparsec.driver import isa_of
from sparsec.ir.context import make_context
from sparsec.kernels.isa import Isa
from sparsec.runtime.session import Session
from sparsec.targets.target import Target
from sparsec.tune.native import compile_kernels, place

SECONDS = 10.0
FEWEST_ROUNDS = 5
DISTURBED = 1.25  # times the best round: what the median of an idle machine never takes
_NUMPY = {"f32": "float32", "i64": "int64"}

Progress = Callable[[str, int, int], None]  # what is being done, a number, out of how many


@dataclass(frozen=True, slots=True)
class Calibration:
    """`disturbed` are the probes whose rounds differed so much that others must have used what they measure."""

    machine: Machine
    disturbed: tuple[str, ...]


def calibrate(target: Target, *, seconds: float = SECONDS, progress: Progress | None = None) -> Calibration:
    """Measure this machine as seen by code for `target`, on one thread, for about `seconds`.

    Each roof is the best of all rounds, as others only slow a core down. Raises `ArtifactError` if this machine cannot
    run the target.
    """
    start, isa, caches = time.perf_counter(), isa_of(target), cache_sizes()
    report = progress or (lambda what, number, count: None)
    report("compiling the probes", 0, 100)
    chosen = probes(isa, caches)
    with Session(_program(chosen, isa, target), threads=1) as session:
        feeds = [place(_ones(probe)) for probe in chosen]
        rounds: list[NDArray[np.int64]] = []
        while len(rounds) < FEWEST_ROUNDS or time.perf_counter() - start < seconds:
            rounds.append(session.profile(feeds, 1)[0])
            share = min(1.0, (time.perf_counter() - start) / max(seconds, 1e-9))
            report(f"round {len(rounds)}", int(100 * share), 100)
    best, typical = np.min(rounds, axis=0), np.median(rounds, axis=0)
    times = {probe.name: float(each) for probe, each in zip(chosen, best, strict=True)}
    disturbed = tuple(probe.name for probe, worse in zip(chosen, typical > DISTURBED * best, strict=True) if worse)
    return Calibration(machine_of(machine_id(), times, chosen, isa, caches, core_count()), disturbed)


def _program(chosen: list[Probe], isa: Isa, target: Target) -> Program:
    """One step per probe, with an input and an output of its own."""
    with make_context(), ir.Location.unknown():
        module = ir.Module.create()
        for probe in chosen:
            probe.define(module)
        code = compile_kernels(module, [probe.name for probe in chosen], isa, target)
    return Program(
        name="calibration",
        target=target.spec,
        inputs=tuple(TensorSpec(f"x.{each.name}", _NUMPY[each.dtype], (each.elements,)) for each in chosen),
        outputs=tuple(TensorSpec(f"y.{each.name}", _NUMPY[each.dtype], (each.outputs,)) for each in chosen),
        arena_bytes=0,
        steps=tuple(
            Step(each.name, (Buffer(Space.INPUT, i), Buffer(Space.OUTPUT, i)), each.units, each.units, each.name)
            for i, each in enumerate(chosen)
        ),
        code=code,
        weights=np.zeros(0, np.uint8),
        report={},
    )


def _ones(probe: Probe) -> NDArray[np.generic]:
    return np.ones(probe.elements, _NUMPY[probe.dtype])  # written, so that the pages are not all the zero page
