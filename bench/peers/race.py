"""The race: contestants take turns on one processor, and a ratio compares turns of one round.

Times of one thread are processor times of the contestant's process. On a machine to itself they equal the wall's; on a
shared one they leave out while another process runs. That no contestant sleeps is checked: see `Race.idle`. Of several
threads only the wall's time means anything.

A race ends early where the question is answered: who is far behind the leader of every field that it belongs to gets no
more turns, and once no leader is near the first, a few rounds are enough.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from bench.peers.peer import Contestant, FailedError, Out, Racer, Turn

TURN_NS = 4e6  # long against what the switch costs the caches
FEWEST_ROUNDS = 9
CLEAR_ROUNDS = 7  # enough where it is clear who is faster
MOST_ROUNDS = 200
EXTENSIONS = 3  # how often a race whose spread is wide goes on
SETTLED = 0.10  # spread of the first's times up to which it is not wide
NEAR = 0.10  # a leader whose ratio is nearer to 1 than that in some rounds is near the first
# Times the leader's time: who takes longer after so many rounds is far behind.
BEHIND = ((1, 2.0), (3, 1.25))


class Clock(Enum):
    """Which time counts: of the processor, for one thread, or of the wall."""

    PROCESSOR = "processor time of the contestant's process"
    WALL = "wall time"


class OutError(Exception):
    """A contestant failed during the race; `name` is whose, the message says how."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


@dataclass(frozen=True, slots=True)
class Timing:
    """One contestant, in nanoseconds per call over its rounds; `ratio`: how many times as long as the first it took."""

    median_ns: float
    p10_ns: float
    p90_ns: float
    ratio: float
    ratio_p10: float
    ratio_p90: float


def timings_of(facts: object) -> dict[str, Timing]:
    """Timings by name, from what JSON makes of them."""
    return {name: Timing(**each) for name, each in cast("dict[str, dict[str, float]]", facts).items()}


@dataclass(frozen=True, slots=True)
class Race:
    """`idle` is the largest share of the wall's time that a contestant slept in its least disturbed turn."""

    rounds: int
    settled: bool
    idle: float
    timings: Mapping[str, Timing]


Rounds = list[dict[str, Turn]]
R = TypeVar("R", bound=Racer)


def race_the_fit(
    contestants: Mapping[str, R], first: str, failed: dict[str, str], run: Callable[[Mapping[str, R]], Race]
) -> Race:
    """`run` a race of the `first` and whoever has not failed; who fails meanwhile is added to `failed`, with the reason, and
    the others start again. Raises `OutError` if that is the first."""
    while True:
        try:
            return run({name: each for name, each in contestants.items() if name == first or name not in failed})
        except OutError as error:
            if error.name == first:
                raise
            failed[error.name] = str(error)


def outputs_of(contestants: Mapping[str, Contestant[Out]], failed: dict[str, str]) -> Iterator[tuple[str, Out]]:
    """What each computes in one call; who cannot is added to `failed`, with the reason."""
    for name, each in contestants.items():
        try:
            each.turn(1)
            found = each.output()
        except FailedError as error:
            failed[name] = str(error)
        else:
            yield name, found


def race(
    contestants: Mapping[str, Racer],
    seconds: float,
    *,
    fewest: int = FEWEST_ROUNDS,
    clock: Clock = Clock.PROCESSOR,
    fields: Sequence[Collection[str]] = (),
    turn_ns: float | None = None,
) -> Race:
    """Time the contestants in turns for about `seconds`, longer where the spread is wide; ratios are to the first.

    `fields` are the names among which a leader is sought; without them nobody drops out and no race ends early. A turn lasts
    `turn_ns`, by default `TURN_NS`. Raises `OutError`.
    """
    calls = {name: _calls(name, each, turn_ns or TURN_NS) for name, each in contestants.items()}
    rounds: Rounds = []
    gc.collect()
    gc.disable()
    try:
        first = _round(contestants, calls, 0)
        length = sum(turn.wall_ns * (calls[name] + 1) for name, turn in first.items()) * 1e-9
        count = min(MOST_ROUNDS, max(fewest, round(seconds / length)))
        for _ in range(1 + EXTENSIONS):
            for _ in range(count):
                rounds.append(_round(_in_the_running(contestants, rounds, clock, fields), calls, len(rounds)))
                if fields and len(rounds) >= min(fewest, CLEAR_ROUNDS) and _clear(rounds, clock, fields):
                    return result(rounds, clock)
            if _settled(rounds, clock):
                break
    finally:
        gc.enable()
    return result(rounds, clock)


def result(rounds: Rounds, clock: Clock = Clock.PROCESSOR) -> Race:
    """Medians, percentiles and ratios of all rounds; a contestant's over those that it took part in."""
    times = {name: _times(rounds, name, clock) for name in rounds[0]}
    idle = max(min(1 - each[name].cpu_ns / each[name].wall_ns for each in rounds if name in each) for name in rounds[0])
    first = next(iter(times.values()))
    timings = {name: _timing(each, first[: len(each)]) for name, each in times.items()}
    return Race(len(rounds), _settled(rounds, clock), max(0.0, idle), timings)


def _in_the_running(
    contestants: Mapping[str, Racer], rounds: Rounds, clock: Clock, fields: Sequence[Collection[str]]
) -> Mapping[str, Racer]:
    """Those of the last round, without who is far behind in all its fields."""
    if not rounds:
        return contestants
    left = {name: contestants[name] for name in rounds[-1]}
    factor = min((limit for count, limit in BEHIND if len(rounds) >= count), default=math.inf)
    medians = {name: float(np.median(_times(rounds, name, clock))) for name in left}
    good = {name for name in left if not any(name in field for field in fields)}
    for field in fields:
        limit = factor * min((medians[name] for name in left if name in field), default=0.0)
        good |= {name for name in left if name in field and medians[name] <= limit}
    return {name: each for name, each in left.items() if name in good}


def _clear(rounds: Rounds, clock: Clock, fields: Sequence[Collection[str]]) -> bool:
    """Whether the first's times have settled and no leader is near it."""
    timings = result(rounds, clock).timings
    leaders = [
        min((timings[name] for name in rounds[-1] if name in field), key=lambda each: each.ratio)
        for field in fields
        if any(name in field for name in rounds[-1])
    ]
    near = any(each.ratio_p10 < 1 + NEAR and each.ratio_p90 > 1 / (1 + NEAR) for each in leaders)
    return not near and _settled(rounds, clock)


def _calls(name: str, contestant: Racer, turn_ns: float) -> int:
    shortest = _turn(name, contestant, 1).cpu_ns
    if shortest < turn_ns:  # else one call is a turn, whatever a second look says
        shortest = min(shortest, _turn(name, contestant, 1).cpu_ns)
    return max(1, min(1000, math.ceil(turn_ns / max(shortest, 1.0))))


def _round(contestants: Mapping[str, Racer], calls: Mapping[str, int], number: int) -> dict[str, Turn]:
    """One turn of each, backwards in every second round."""
    names = list(contestants)
    order = names if number % 2 == 0 else names[::-1]
    found = {name: _turn(name, contestants[name], calls[name]) for name in order}
    return {name: found[name] for name in names}


def _turn(name: str, contestant: Racer, calls: int) -> Turn:
    try:
        return contestant.turn(calls)
    except FailedError as error:
        raise OutError(name, str(error)) from error


def _times(rounds: Rounds, name: str, clock: Clock) -> NDArray[np.float64]:
    """Of the rounds that it took part in: the first ones, for who drops out does not come back."""
    turns = [each[name] for each in rounds if name in each]
    return np.array([turn.wall_ns if clock is Clock.WALL else turn.cpu_ns for turn in turns])


def _settled(rounds: Rounds, clock: Clock) -> bool:
    low, middle, high = np.percentile(_times(rounds, next(iter(rounds[0])), clock), (10, 50, 90))
    return bool((high - low) / middle <= 2 * SETTLED)


def _timing(times: NDArray[np.float64], first: NDArray[np.float64]) -> Timing:
    low, middle, high = (float(value) for value in np.percentile(times, (10, 50, 90)))
    ratio_low, ratio, ratio_high = (float(value) for value in np.percentile(times / first, (10, 50, 90)))
    return Timing(middle, low, high, ratio, ratio_low, ratio_high)
