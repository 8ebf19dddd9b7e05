"""The race: who runs when, and what is computed from the turns."""

from __future__ import annotations

import pytest

from bench.peers.peer import F32, FailedError, Turn
from bench.peers.race import (
    CLEAR_ROUNDS,
    FEWEST_ROUNDS,
    TURN_NS,
    Clock,
    OutError,
    outputs_of,
    race,
    race_the_fit,
    result,
)


class Stub:
    """A contestant that says it takes `nanoseconds` per call, and notes its turns in `log`."""

    def __init__(self, name: str, nanoseconds: float, log: list[tuple[str, int]], lasts: int = 10**9) -> None:
        self.name, self.nanoseconds, self.log, self.lasts = name, nanoseconds, log, lasts

    def turn(self, calls: int, /) -> Turn:
        self.lasts -= 1
        if self.lasts < 0:
            raise FailedError("it died")
        self.log.append((self.name, calls))
        return Turn(self.nanoseconds, self.nanoseconds)

    def output(self) -> F32:
        raise NotImplementedError

    def close(self) -> None: ...


def test_contestants_take_turns_backwards_in_every_second_round() -> None:
    log: list[tuple[str, int]] = []
    found = race({"a": Stub("a", 1e6, log), "b": Stub("b", 5e6, log)}, seconds=1e-3)
    assert found.rounds == FEWEST_ROUNDS
    assert log[-4:] == [("b", 1), ("a", 4), ("a", 4), ("b", 1)]


def test_ratios_are_to_the_first() -> None:
    found = race({"a": Stub("a", 1e6, []), "b": Stub("b", 5e6, [])}, seconds=1e-3)
    assert found.timings["a"].ratio == 1
    assert found.timings["b"].ratio == pytest.approx(5)
    assert found.timings["b"].median_ns == pytest.approx(5e6)
    assert found.settled
    assert found.idle == 0


def test_who_dies_is_named() -> None:
    with pytest.raises(OutError, match="it died") as caught:
        race({"a": Stub("a", 1e6, []), "b": Stub("b", 1e6, [], lasts=5)}, seconds=1e-3)
    assert caught.value.name == "b"


def test_the_others_start_again_without_who_dies() -> None:
    failed: dict[str, str] = {}
    names = {"a": Stub("a", 1e6, []), "b": Stub("b", 1e6, [], lasts=5), "c": Stub("c", 2e6, [])}
    found = race_the_fit(names, "a", failed, lambda fit: race(fit, seconds=1e-3))
    assert (set(found.timings), failed) == ({"a", "c"}, {"b": "it died"})
    with pytest.raises(OutError, match="it died"):
        race_the_fit(names, "b", failed, lambda fit: race(fit, seconds=1e-3))


def test_who_computes_nothing_has_failed() -> None:
    failed: dict[str, str] = {}
    assert list(outputs_of({"a": Stub("a", 1e6, [], lasts=0)}, failed)) == []
    assert failed == {"a": "it died"}


def test_time_that_another_process_took_is_not_counted() -> None:
    rounds = [{"a": Turn(2e6, 1e6)}, {"a": Turn(1e6, 1e6)}, {"a": Turn(9e6, 1e6)}]
    found = result(rounds)
    assert found.timings["a"].p90_ns == 1e6
    assert found.idle == 0


def test_a_contestant_that_sleeps_shows() -> None:
    assert result([{"a": Turn(2e6, 1e6)}, {"a": Turn(4e6, 1e6)}]).idle == pytest.approx(0.5)


def test_a_wide_spread_is_not_settled() -> None:
    assert not result([{"a": Turn(time, time)} for time in (1e6, 1e6, 2e6)]).settled


def test_who_is_far_behind_in_all_its_fields_drops_out() -> None:
    log: list[tuple[str, int]] = []
    times = {"ours": 1e6, "fast": 2e6, "slow": 3e6, "slower": 5e6, "dense": 9e6, "denser": 1e7, "odd": 5e7}
    stubs = {name: Stub(name, each, log) for name, each in times.items()}
    found = race(stubs, seconds=1e-3, fields=(("fast", "slow", "slower", "dense", "denser"), ("dense", "denser")))
    turns = {name: sum(1 for each, _ in log if each == name) for name in times}
    probes = {name: 1 if each >= TURN_NS else 2 for name, each in times.items()}
    assert {name: turns[name] - probes[name] for name in times} == {
        **dict.fromkeys(times, 1 + CLEAR_ROUNDS),
        "slow": 1 + 3,
        "slower": 1 + 1,
    }
    assert found.rounds == CLEAR_ROUNDS
    assert found.timings["slow"].ratio == pytest.approx(3)
    assert list(found.timings) == list(times)


def test_a_leader_near_the_first_keeps_the_race_going() -> None:
    near = race({"a": Stub("a", 1e6, []), "b": Stub("b", 1.05e6, [])}, seconds=1e-3, fields=(("b",),))
    assert near.rounds == FEWEST_ROUNDS


def test_several_threads_are_timed_by_the_wall() -> None:
    rounds = [{"a": Turn(1e6, 2e6), "b": Turn(3e6, 4e6)}]
    assert result(rounds, Clock.WALL).timings["b"].ratio == 3
    assert result(rounds, Clock.PROCESSOR).timings["b"].ratio == 2
