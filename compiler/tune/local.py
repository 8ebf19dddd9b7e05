"""Measuring in this process."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact import Program
from sparsec.cost.host import machine_id
from sparsec.errors import SparsecError
from sparsec.kernels.arithmetic import F32
from sparsec.kernels.epilogue import Epilogue, identity
from sparsec.kernels.problem import AttentionProblem, Problem
from sparsec.kernels.table import KERNELS
from sparsec.runtime.session import Session
from sparsec.targets.isa import isa_of
from sparsec.targets.target import Target
from sparsec.tune.measurer import Measurement
from sparsec.tune.native import place
from sparsec.tune.one_layer import DTYPES, OneLayer, compile_epilogue, compile_layer, operands_of
from sparsec.tune.reference import contract
from sparsec.tune.task import Task
from sparsec.verify import tolerance

Array = NDArray[np.generic]

TURN_SECONDS = 0.004  # how long one kernel runs before the next
FEWEST_ROUNDS = 5
MOST_ROUNDS = 60
_WARM_UP_RUNS = 3


class LocalMeasurer:
    """Compiles each kernel as a program of one layer with the real weight, checks it, and times all of them in turns, on so
    many threads."""

    def __init__(self, target: Target, threads: int = 1) -> None:
        self._target, self._isa, self._threads = target, isa_of(target), threads

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
                    program = self._checked(name, task, feeds, expected)
                    sessions[name] = stack.enter_context(Session(program, threads=self._threads))
                except _WrongResultError as wrong:
                    faults[name] = str(wrong)
                except (SparsecError, AssertionError, ValueError) as error:
                    faults[name] = f"it does not compile: {str(error).splitlines()[0] if str(error) else error!r}"
            timed = _time(sessions, list(feeds.values()), seconds)
        return [timed[name] if name in timed else Measurement(name, None, 0.0, 0, faults[name]) for name in kernels]

    def _checked(
        self, name: str, task: Task, feeds: Mapping[str, Array], expected: Mapping[Epilogue, Array]
    ) -> Program:
        """The program to time; raises `_WrongResultError`, and what compiling raises."""
        for epilogue, results in expected.items():
            compiled = compile_layer(KERNELS[name], task.problem, task.weight, epilogue, self._isa, self._target)
            _check(compiled, feeds, results, task.problem)
        return compiled.timed

    def _reference(self, task: Task, feeds: Mapping[str, Array]) -> Mapping[Epilogue, Array]:
        """What the layer gives with each of the epilogues that a kernel is checked with, its own being the last.

        The contraction in float64, rounded to the type of sums, through the epilogue element by element. Sums of whole
        numbers are checked too, as they must be exact, and an epilogue that rounds to 8 bit would hide small errors.
        """
        problem, plain = task.problem, identity(task.epilogue.total)
        inputs = {name: feeds[name] for name in operands_of(problem, plain)}
        sums = place(contract(problem, inputs, task.weight).astype(DTYPES[plain.total]))
        epilogue = compile_epilogue(problem, task.epilogue, self._isa, self._target)
        if epilogue is None:
            return {plain: sums}
        operands = [value for name, value in feeds.items() if name not in inputs]
        with Session(epilogue, threads=1) as session:
            results = session.run([sums, *operands])["y"]
        return {**({plain: sums} if plain.total == "i32" else {}), task.epilogue: results}


class _WrongResultError(Exception):
    """A kernel computes something else."""


def _feeds(task: Task) -> dict[str, Array]:
    """The layer's own constants, and random numbers, always the same: normal ones, small whole ones, any bytes."""
    random = np.random.default_rng(0)

    def values(name: str, element: str, size: int) -> Array:
        if name in task.constants:
            constant = np.ascontiguousarray(task.constants[name])
            return constant.view(np.uint8) if element == "i8" else constant
        if element == "f32":
            return random.standard_normal(size, dtype=np.float32)
        low, high = (0, 256) if element == "i8" else (-1000, 1000)
        return random.integers(low, high, size, DTYPES[element])

    operands = operands_of(task.problem, task.epilogue)
    return {name: place(values(name, *operand)) for name, operand in operands.items()}


def _check(compiled: OneLayer, feeds: Mapping[str, Array], expected: Array, problem: Problem) -> None:
    """Raise `_WrongResultError` unless whole numbers are the same, and floats within the tolerance of `verify` for float32.

    That holds for bf16 too: the reference multiplies the same rounded factors, and sums are float32. But what attention
    computes and rounds itself may be at either side of a tie.
    """
    precision = problem.arithmetic.name if isinstance(problem, AttentionProblem) else F32.name
    with Session(compiled.checked, threads=1) as session:
        found = session.run({spec.name: feeds[spec.name] for spec in session.inputs})["y"]
    one, other = expected.astype(np.float64), found.astype(np.float64)
    finite = np.isfinite(one)
    if not np.array_equal(finite, np.isfinite(other)):
        raise _WrongResultError("wrong result: infinities or NaNs stand in other places than in the reference")
    error = float(np.abs(one[finite] - other[finite]).max(initial=0.0))
    allowed = tolerance(expected.dtype.name, float(np.abs(one[finite]).max(initial=0.0)), precision=precision)
    if error > allowed:
        raise _WrongResultError(f"wrong result: error {error:.2g}, {allowed:.2g} is allowed")


def _time(sessions: Mapping[str, Session], feeds: Sequence[Array], seconds: float) -> dict[str, Measurement]:
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


def _runs_per_turn(session: Session, feeds: Sequence[Array]) -> int:
    """By the wall clock: of a short run, most is what Python adds."""
    _nanoseconds(session, feeds, _WARM_UP_RUNS)
    start = time.perf_counter()
    _nanoseconds(session, feeds, _WARM_UP_RUNS)
    return max(1, round(TURN_SECONDS * _WARM_UP_RUNS / (time.perf_counter() - start)))


def _nanoseconds(session: Session, feeds: Sequence[Array], runs: int) -> float:
    """Time of one run: the median of `runs`, or their mean processor time where that is less.

    The first leaves out what Python adds to short runs, the second what other processes take from long ones. Of several
    threads, one says nothing of what the others lose.
    """
    start = time.thread_time_ns()
    wall = float(np.median(session.profile(feeds, runs).sum(axis=1)))
    if session.threads > 1:
        return wall
    return min(wall, (time.thread_time_ns() - start) / (runs + 1))  # a profile begins with a run that it does not count
