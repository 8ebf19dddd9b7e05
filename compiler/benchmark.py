"""Timing a compiled model and its peers, so that the comparison is fair on a machine that does other things as well."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.errors import UsageError

WARM_UP_SECONDS = 0.2
TURN_SECONDS = 0.01  # how long one contestant runs before the next: long against what the switch costs its caches
FEWEST_ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of one contestant in nanoseconds per run, over the rounds.

    `ratio` is how many times as long as the first it took.
    """

    name: str
    median_ns: float
    p10_ns: float
    p90_ns: float
    ratio: float
    ratio_p10: float
    ratio_p90: float


@dataclass(frozen=True, slots=True)
class Race:
    """A benchmark: the compiled model first, then its peers."""

    rounds: int
    runs_per_round: tuple[int, ...]
    timings: tuple[Timing, ...]

    def as_dict(self) -> dict[str, object]:
        """JSON-able."""
        return asdict(self)


def race(
    contestants: Mapping[str, Callable[[], object]],
    *,
    seconds: float = 3.0,
    rounds: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Race:
    """Time the contestants in turns, all in this process.

    Each is warmed up. In each round each runs in turn for about `TURN_SECONDS`, first one and then the other first; a
    ratio compares two turns of one round, so that what slows the machine for longer than a round cancels. As many
    rounds as fit into `seconds`, or `rounds`. Raises `UsageError` for less than one, and for
    `seconds` that are not positive and finite.
    """
    if rounds is None and not 0 < seconds < math.inf:
        raise UsageError("A benchmark takes some time, but not all of it.", got=f"{seconds} seconds")
    if rounds is not None and rounds < 1:
        raise UsageError("A benchmark needs at least one round.", got=f"{rounds} rounds")
    calls = list(contestants.values())
    per_turn = [max(1, round(TURN_SECONDS / _warm_up(call))) for call in calls]
    if rounds is None:
        one_round = sum(_turn(call, runs) * runs * 1e-9 for call, runs in zip(calls, per_turn, strict=True))
        rounds = max(FEWEST_ROUNDS, round(seconds / one_round))
    times = np.zeros((rounds, len(calls)))
    gc_was_on = gc.isenabled()
    gc.disable()
    try:
        for number in range(rounds):
            order = range(len(calls)) if number % 2 == 0 else reversed(range(len(calls)))
            for index in order:
                times[number, index] = _turn(calls[index], per_turn[index])
            if progress is not None:
                progress(number + 1, rounds)
    finally:
        if gc_was_on:
            gc.enable()
    return Race(rounds, tuple(per_turn), _timings(list(contestants), times))


def _warm_up(call: Callable[[], object]) -> float:
    """Run for a while, and return the seconds of the shortest run."""
    shortest, end = np.inf, time.perf_counter() + WARM_UP_SECONDS
    while True:
        start = time.perf_counter()
        call()
        now = time.perf_counter()
        shortest = min(shortest, now - start)
        if now > end:
            return float(max(shortest, 1e-9))


def _turn(call: Callable[[], object], runs: int) -> float:
    """Nanoseconds per run of `runs` runs in a row."""
    start = time.perf_counter_ns()
    for _ in range(runs):
        call()
    return (time.perf_counter_ns() - start) / runs


def _timings(names: Sequence[str], times: NDArray[np.float64]) -> tuple[Timing, ...]:
    """`times` is [rounds, contestants]."""
    rows = []
    for index, name in enumerate(names):
        low, middle, high = np.percentile(times[:, index], (10, 50, 90))
        ratios = np.percentile(times[:, index] / times[:, 0], (10, 50, 90))
        rows.append(Timing(name, float(middle), float(low), float(high), *(float(ratios[i]) for i in (1, 0, 2))))
    return tuple(rows)
