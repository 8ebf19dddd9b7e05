"""Measuring the roofs of one core, and of all: compiles the probes of `sparsec.cost.calibrate` and times them in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.artifact import Buffer, Program, Space, Step, TensorSpec
from sparsec.cost.calibrate import Probe, cores_at_work, machine_of, probes, shared_probes
from sparsec.cost.host import cache_sizes, core_count, machine_id
from sparsec.cost.machine import Machine
from sparsec.ir.context import make_context
from sparsec.kernels.isa import Isa
from sparsec.runtime.session import Session
from sparsec.targets.isa import isa_of
from sparsec.targets.target import Target
from sparsec.tune.native import compile_kernels, place

SECONDS = 10.0
FEWEST_ROUNDS = 5
DISTURBED = 1.25  # times the best round: what the median of an idle machine never takes
_NUMPY = {"f32": "float32", "i64": "int64"}

Progress = Callable[[str, int, int], None]  # what is being done, a number, out of how many


@dataclass(frozen=True, slots=True)
class Calibration:
    """`disturbed` are the probes whose rounds differed so much that others must have used what they measure, or that did not
    have all cores; `together` says that there are several, and what they share is known."""

    machine: Machine
    disturbed: tuple[str, ...]
    together: bool


def calibrate(target: Target, *, seconds: float = SECONDS, progress: Progress | None = None) -> Calibration:
    """Measure this machine as seen by code for `target`, first one core alone and then all, for about `seconds`.

    Each roof is the best of all rounds, as others only slow a core down. Raises `ArtifactError` if this machine cannot
    run the target.
    """
    start, isa, caches, cores = time.perf_counter(), isa_of(target), cache_sizes(), core_count()
    report = progress or (lambda what, number, count: None)
    report("compiling the probes", 0, 100)
    groups = [each for each in (probes(isa, caches), shared_probes(isa, caches, cores)) if each]
    chosen = [probe for group in groups for probe in group]
    best: dict[str, float] = {}
    disturbed: list[str] = []
    for number, group in enumerate(groups, start=1):
        rounds: list[NDArray[np.int64]] = []
        for each in _rounds(group, start + seconds * number / len(groups), isa, target):
            rounds.append(each)
            share = min(1.0, (time.perf_counter() - start) / max(seconds, 1e-9))
            report(f"round {len(rounds)}", int(100 * share), 100)
        for probe, least, usual in zip(group, np.min(rounds, axis=0), np.median(rounds, axis=0), strict=True):
            best[probe.name] = float(least)
            disturbed += [probe.name] if usual > DISTURBED * least else []
    together = cores > 1 and cores_at_work(best, chosen) >= cores / DISTURBED
    if cores > 1 and not together:
        disturbed.append("clock_by_all")
        chosen = groups[0]  # the others say nothing: not all cores were there
    machine = machine_of(machine_id(), best, chosen, isa, caches, cores)
    return Calibration(machine, tuple(dict.fromkeys(disturbed)), together)


def _rounds(group: Sequence[Probe], until: float, isa: Isa, target: Target) -> Iterator[NDArray[np.int64]]:
    """Nanoseconds of each probe, again and again until so late by the clock; all are for one number of threads."""
    with Session(_program(group, isa, target), threads=group[0].threads) as session:
        feeds = [place(_ones(probe)) for probe in group]
        count = 0
        while count < FEWEST_ROUNDS or time.perf_counter() < until:
            yield session.profile(feeds, 1)[0]
            count += 1


def _program(chosen: Sequence[Probe], isa: Isa, target: Target) -> Program:
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
            Step(
                each.name,
                (Buffer(Space.INPUT, i), Buffer(Space.OUTPUT, i)),
                each.units,
                each.units // each.threads,
                each.name,
            )
            for i, each in enumerate(chosen)
        ),
        code=code,
        weights=np.zeros(0, np.uint8),
        report={},
    )


def _ones(probe: Probe) -> NDArray[np.generic]:
    return np.ones(probe.elements, _NUMPY[probe.dtype])  # written, so that the pages are not all the zero page
