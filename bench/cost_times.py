"""Times of the kernels that can compute one layer, in turns: by the tuner in float32, without its check of results in other arithmetics.

Kernels for bytes and bfloat16 are checked by their tests; here they get random bytes to work on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from sparsec.cost.layer_key import LayerKey
from sparsec.driver import isa_of
from sparsec.errors import SparsecError
from sparsec.formats.facts import Facts
from sparsec.kernels.arithmetic import F32
from sparsec.kernels.epilogue import identity
from sparsec.kernels.kernel import Weight
from sparsec.kernels.problem import Problem
from sparsec.kernels.table import KERNELS
from sparsec.report import Candidate
from sparsec.runtime.session import Session
from sparsec.targets.target import Target
from sparsec.tune.local import LocalMeasurer
from sparsec.tune.measurer import Measurement
from sparsec.tune.native import place
from sparsec.tune.one_layer import compile_layer, operand_sizes
from sparsec.tune.task import Task

TURN_SECONDS = 0.004
FEWEST_ROUNDS = 5


def time_kernels(
    problem: Problem, facts: Facts, weight: Weight, able: Sequence[Candidate], target: Target, seconds: float
) -> list[Measurement]:
    """One measurement for each candidate; one that fails has a fault and no time."""
    names = [each.kernel for each in able]
    epilogue = identity(problem.arithmetic.total)
    if problem.arithmetic == F32:
        key = LayerKey.of(problem, epilogue.tag, isa_of(target), facts, weight)
        task = Task(("layer",), key, problem, epilogue, facts, weight, tuple(able))
        return LocalMeasurer(target).measure(task, names, seconds)
    random = np.random.default_rng(0)
    sizes = operand_sizes(problem, epilogue)
    feeds = [place(random.random(size, dtype=np.float32)).view(np.float32) for size in sizes.values()]
    sessions: dict[str, Session] = {}
    faults: dict[str, str] = {}
    with ExitStack() as stack:
        for name in names:
            try:
                compiled = compile_layer(KERNELS[name], problem, weight, epilogue, isa_of(target), target)
            except (SparsecError, AssertionError, ValueError) as error:
                faults[name] = f"it does not compile: {error!r}"
                continue
            sessions[name] = stack.enter_context(Session(compiled.timed, threads=1))
        rounds = _rounds(sessions, feeds, seconds)
    return [
        Measurement(name, float(np.median(rounds[name])), float(np.ptp(rounds[name])), len(rounds[name]))
        if name in rounds
        else Measurement(name, None, 0.0, 0, faults[name])
        for name in names
    ]


def _rounds(sessions: dict[str, Session], feeds: list[np.ndarray], seconds: float) -> dict[str, list[float]]:
    """Nanoseconds per run, a median over the runs of a turn."""
    found: dict[str, list[float]] = {name: [] for name in sessions}
    runs = {name: max(1, round(TURN_SECONDS * 1e9 / _turn(each, feeds, 3))) for name, each in sessions.items()}
    start, count = time.perf_counter(), 0
    while sessions and (count < FEWEST_ROUNDS or time.perf_counter() - start < seconds):
        for name, session in sessions.items():
            found[name].append(_turn(session, feeds, runs[name]))
        count += 1
    return found


def _turn(session: Session, feeds: list[np.ndarray], runs: int) -> float:
    return float(np.median(session.profile(feeds, runs).sum(axis=1)))
