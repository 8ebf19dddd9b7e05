"""Measuring in this process, on one thread."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from sparsec.cost.host import machine_id
from sparsec.driver import isa_of
from sparsec.errors import SparsecError
from sparsec.kernels.table import KERNELS
from sparsec.runtime.session import Session
from sparsec.targets.target import Target
from sparsec.tune.measurer import Measurement
from sparsec.tune.native import place
from sparsec.tune.one_layer import OneLayer, compile_epilogue, compile_layer, operand_sizes
from sparsec.tune.reference import contract
from sparsec.tune.task import Task
from sparsec.verify import tolerance

F32 = NDArray[np.float32]

TURN_SECONDS = 0.004  # how long one kernel runs before the next
FEWEST_ROUNDS = 5
MOST_ROUNDS = 60
_WARM_UP_RUNS = 3


class LocalMeasurer:
    """Compiles each kernel as a program of one layer with the real weight, checks it, and times all of them in turns."""

    def __init__(self, target: Target) -> None:
        self._target, self._isa = target, isa_of(target)

    @property
    def machine(self) -> str:
        """This machine."""
        return machine_id()

    def measure(self, task: Task, kernels: Sequence[str], seconds: float) -> list[Measurement]:
        """See `Measurer`. A kernel that does not compile, or whose result is wrong, gets a fault and no time."""
        feeds = _feeds(task)
        expected = self._reference(task, feeds)
        sessions: dict[str, Session] = {}
        faults: dict[str, str] = {}
        with ExitStack() as stack:
            for name in kernels:
                try:
                    compiled = compile_layer(
                        KERNELS[name], task.problem, task.weight, task.epilogue, self._isa, self._target
                    )
                except (SparsecError, AssertionError, ValueError) as error:
                    faults[name] = f"it does not compile: {str(error).splitlines()[0] if str(error) else error!r}"
                    continue
                fault = _check(compiled, feeds, expected)
                if fault is None:
                    sessions[name] = stack.enter_context(Session(compiled.timed, threads=1))
                else:
                    faults[name] = fault
            timed = _time(sessions, list(feeds.values()), seconds)
        return [timed[name] if name in timed else Measurement(name, None, 0.0, 0, faults[name]) for name in kernels]

    def _reference(self, task: Task, feeds: Mapping[str, F32]) -> F32:
        """The contraction in float64, rounded to float32, through the epilogue element by element."""
        total = place(contract(task.problem, feeds, task.weight).astype(np.float32))
        epilogue = compile_epilogue(task.problem, task.epilogue, self._isa, self._target)
        if epilogue is None:
            return total.astype(np.float32)
        operands = [value for name, value in feeds.items() if name.startswith("epilogue.")]
        with Session(epilogue, threads=1) as session:
            return session.run([total, *operands])["y"].astype(np.float32)


def _feeds(task: Task) -> dict[str, F32]:
    """Random inputs, always the same."""
    random = np.random.default_rng(0)
    sizes = operand_sizes(task.problem, task.epilogue)
    return {
        name: place(random.standard_normal(size, dtype=np.float32)).view(np.float32) for name, size in sizes.items()
    }


def _check(compiled: OneLayer, feeds: Mapping[str, F32], expected: F32) -> str | None:
    """What is wrong with the result; None if it is right within the tolerance of `verify`."""
    with Session(compiled.checked, threads=1) as session:
        found = session.run(list(feeds.values()))["y"].astype(np.float32)
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(found)):
        return "wrong result: infinities or NaNs stand in other places than in the reference"
    error = float(np.abs(expected[finite].astype(np.float64) - found[finite]).max(initial=0.0))
    allowed = tolerance("float32", float(np.abs(expected[finite]).max(initial=0.0)))
    return None if error <= allowed else f"wrong result: error {error:.2g}, {allowed:.2g} is allowed"


def _time(sessions: Mapping[str, Session], feeds: Sequence[F32], seconds: float) -> dict[str, Measurement]:
    """Rounds in which each kernel runs in turn, first one and then the other first."""
    runs = {name: _runs_per_turn(session, feeds) for name, session in sessions.items()}
    rounds: dict[str, list[float]] = {name: [] for name in sessions}
    start, order, count = time.perf_counter(), list(sessions), 0
    while sessions and (count < FEWEST_ROUNDS or (count < MOST_ROUNDS and time.perf_counter() - start < seconds)):
        for name in order:
            rounds[name].append(_nanoseconds(sessions[name], feeds, runs[name]))
        order.reverse()
        count += 1
    found = {}
    for name, times in rounds.items():
        low, middle, high = np.percentile(times, (25, 50, 75))
        found[name] = Measurement(name, float(middle), float(high - low), count)
    return found


def _runs_per_turn(session: Session, feeds: Sequence[F32]) -> int:
    """By the wall clock: of a short run, most is what Python adds."""
    _nanoseconds(session, feeds, _WARM_UP_RUNS)
    start = time.perf_counter()
    _nanoseconds(session, feeds, _WARM_UP_RUNS)
    return max(1, round(TURN_SECONDS * _WARM_UP_RUNS / (time.perf_counter() - start)))


def _nanoseconds(session: Session, feeds: Sequence[F32], runs: int) -> float:
    """Time of one run: the median of `runs`, or their mean processor time where that is less.

    The first leaves out what Python adds to short runs, the second what other processes take from long ones.
    """
    start = time.thread_time_ns()
    wall = float(np.median(session.profile(feeds, runs).sum(axis=1)))
    return min(wall, (time.thread_time_ns() - start) / (runs + 1))  # a profile begins with a run that it does not count
