"""Races: who runs when, and what is computed from the times."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from sparsec.benchmark import race
from sparsec.errors import UsageError


def test_contestants_run_in_turns_and_the_first_alternates() -> None:
    order: list[str] = []

    def contestant(name: str) -> Callable[[], None]:
        def run() -> None:
            order.append(name)
            time.sleep(0.02)

        return run

    result = race({name: contestant(name) for name in ("a", "b")}, rounds=4)
    assert result.rounds == 4
    assert order[-8:] == ["a", "b", "b", "a", "a", "b", "b", "a"]


def test_ratios_are_to_the_first() -> None:
    result = race({"fast": lambda: time.sleep(0.002), "slow": lambda: time.sleep(0.02)}, rounds=5)
    fast, slow = result.timings
    assert (fast.name, fast.ratio, fast.ratio_p10, fast.ratio_p90) == ("fast", 1, 1, 1)
    assert slow.ratio > 2
    assert fast.p10_ns <= fast.median_ns <= fast.p90_ns
    assert fast.median_ns >= 2e6


def test_short_runs_are_repeated_within_a_turn() -> None:
    assert race({"nothing": lambda: None}, rounds=1).runs_per_round[0] > 1000


def test_no_rounds_are_refused() -> None:
    with pytest.raises(UsageError):
        race({"nothing": lambda: None}, seconds=0)
