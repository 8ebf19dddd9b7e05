"""The race: contestants take turns on one processor, and a ratio compares turns of one round.

Times are processor times of the contestant's process. On a machine to itself they equal the wall's; on a shared one they
leave out while another process runs. That no contestant sleeps is checked: see `Race.idle`.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.peers.peer import Contestant, FailedError, Turn

TURN_NS = 4e6  # long against what the switch costs the caches
FEWEST_ROUNDS = 9
MOST_ROUNDS = 200
EXTENSIONS = 3  # how often a race whose spread is wide goes on
SETTLED = 0.10  # spread of the first's times up to which it is not wide


class OutError(Exception):
    """A contestant failed during the race; `name` is whose, the message says how."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


@dataclass(frozen=True, slots=True)
class Timing:
    """One contestant, in nanoseconds per call over the rounds; `ratio`: how many times as long as the first it took."""

    median_ns: float
    p10_ns: float
    p90_ns: float
    ratio: float
    ratio_p10: float
    ratio_p90: float


@dataclass(frozen=True, slots=True)
class Race:
    """`idle` is the largest share of the wall's time that a contestant slept in its least disturbed turn."""

    rounds: int
    settled: bool
    idle: float
    timings: Mapping[str, Timing]


def race(contestants: Mapping[str, Contestant], seconds: float) -> Race:
    """Time the contestants in turns for about `seconds`, longer where the spread is wide; ratios are to the first.

    Raises `OutError`.
    """
    calls = {name: _calls(name, each) for name, each in contestants.items()}
    rounds: list[dict[str, Turn]] = []
    gc.collect()
    gc.disable()
    try:
        first = _round(contestants, calls, 0)
        length = sum(turn.wall_ns * (calls[name] + 1) for name, turn in first.items()) * 1e-9
        count = min(MOST_ROUNDS, max(FEWEST_ROUNDS, round(seconds / length)))
        for _ in range(1 + EXTENSIONS):
            rounds += [_round(contestants, calls, len(rounds) + index) for index in range(count)]
            if _settled(rounds):
                break
    finally:
        gc.enable()
    return result(rounds)


def result(rounds: list[dict[str, Turn]]) -> Race:
    """Medians, percentiles and ratios of all rounds."""
    names = list(rounds[0])
    times = np.array([[each[name].cpu_ns for name in names] for each in rounds])
    idle = max(min(1 - each[name].cpu_ns / each[name].wall_ns for each in rounds) for name in names)
    timings = {name: _timing(times[:, index], times[:, 0]) for index, name in enumerate(names)}
    return Race(len(rounds), _settled(rounds), max(0.0, idle), timings)


def _calls(name: str, contestant: Contestant) -> int:
    shortest = min(_turn(name, contestant, 1).cpu_ns for _ in range(2))
    return max(1, min(1000, math.ceil(TURN_NS / max(shortest, 1.0))))


def _round(contestants: Mapping[str, Contestant], calls: Mapping[str, int], number: int) -> dict[str, Turn]:
    """One turn of each, backwards in every second round."""
    names = list(contestants)
    order = names if number % 2 == 0 else names[::-1]
    found = {name: _turn(name, contestants[name], calls[name]) for name in order}
    return {name: found[name] for name in names}


def _turn(name: str, contestant: Contestant, calls: int) -> Turn:
    try:
        return contestant.turn(calls)
    except FailedError as error:
        raise OutError(name, str(error)) from error


def _settled(rounds: list[dict[str, Turn]]) -> bool:
    first = next(iter(rounds[0]))
    low, middle, high = np.percentile([each[first].cpu_ns for each in rounds], (10, 50, 90))
    return bool((high - low) / middle <= 2 * SETTLED)


def _timing(times: NDArray[np.float64], first: NDArray[np.float64]) -> Timing:
    low, middle, high = (float(value) for value in np.percentile(times, (10, 50, 90)))
    ratio_low, ratio, ratio_high = (float(value) for value in np.percentile(times / first, (10, 50, 90)))
    return Timing(middle, low, high, ratio, ratio_low, ratio_high)
