"""The search, with a measurer that measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sparsec.cost.database import Database, Result
from sparsec.passes.select_format import choose
from sparsec.report import Candidate
from sparsec.tune.measurer import Measurement
from sparsec.tune.search import Outcome, tune
from sparsec.tune.task import MOST_CANDIDATES, WORTH_MEASURING, Task, worth_measuring
from tests.tune.tasks import CSR, DENSE, linear_task


@dataclass
class Fake:
    """Gives the times that it was told, the default first, and remembers what it was asked."""

    times: Sequence[float | None] = (100.0, 50.0)
    spread: float = 1.0
    asked: list[tuple[str, ...]] = field(default_factory=list)
    stop_after: int = 1000
    machine: str = "fake"

    def measure(self, task: Task, kernels: Sequence[str], seconds: float) -> list[Measurement]:
        if len(self.asked) == self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(tuple(kernels))
        known = dict(zip((each.kernel for each in task.candidates), self.times, strict=True))
        return [
            Measurement(name, known[name], self.spread, 5, None if known[name] else "wrong result") for name in kernels
        ]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "tune.db")


TASKS = [linear_task(tokens) for tokens in (32, 64, 96)]


def states(outcomes: Sequence[Outcome]) -> list[str]:
    return [each.state for each in outcomes]


def test_everything_is_measured_and_the_faster_is_chosen(database: Database) -> None:
    fake = Fake()
    outcomes = tune(TASKS, fake, database, 10)
    assert states(outcomes) == ["measured"] * 3
    assert all(each.choice != each.default and each.gain == 2.0 for each in outcomes)
    assert all(set(kernels) == {CSR, DENSE} for kernels in fake.asked)
    assert database.count() == 6


def test_a_second_run_measures_nothing(database: Database) -> None:
    tune(TASKS, Fake(), database, 10)
    again = Fake()
    assert states(tune(TASKS, again, database, 10)) == ["known"] * 3
    assert again.asked == []


def test_interrupted_and_continued(database: Database) -> None:
    with pytest.raises(KeyboardInterrupt):
        tune(TASKS, Fake(stop_after=2), database, 10)
    assert database.count() == 4
    rest = Fake()
    assert states(tune(TASKS, rest, database, 10)) == ["known", "known", "measured"]
    assert len(rest.asked) == 1


def test_without_time_nothing_is_measured(database: Database) -> None:
    fake = Fake()
    outcomes = tune(TASKS, fake, database, 0)
    assert states(outcomes) == ["left"] * 3
    assert [each.choice for each in outcomes] == [each.default for each in outcomes]
    assert fake.asked == []


@pytest.mark.parametrize(("faster", "spread"), [(98.0, 0.1), (90.0, 15.0), (100.0, 0.0), (120.0, 0.0)])
def test_a_winner_within_noise_is_not_adopted(database: Database, faster: float, spread: float) -> None:
    (outcome,) = tune(TASKS[:1], Fake((100.0, faster), spread), database, 10)
    assert outcome.choice == outcome.default
    assert outcome.gain == 1.0


def test_a_wrong_candidate_is_rejected(database: Database) -> None:
    (outcome,) = tune(TASKS[:1], Fake((100.0, None)), database, 10)
    assert outcome.choice == outcome.default
    assert list(outcome.rejected.values()) == ["wrong result"]


def test_a_wrong_default_is_replaced(database: Database) -> None:
    (outcome,) = tune(TASKS[:1], Fake((None, 500.0)), database, 10)
    assert outcome.choice != outcome.default


def test_a_new_kernel_is_measured_against_the_incumbent(database: Database) -> None:
    task = TASKS[0]
    tune([task], Fake(), database, 10)
    with database._connection as connection:
        connection.execute("DELETE FROM results WHERE kernel = ?", (task.candidates[1].kernel,))
    fake = Fake()
    tune([task], fake, database, 10)
    assert set(fake.asked[0]) == {CSR, DENSE}


def test_progress_tells_the_best_so_far(database: Database) -> None:
    steps: list[tuple[int, int, str]] = []
    tune(TASKS, Fake(), database, 10, lambda step: steps.append((step.number, step.count, step.outcome.state)))
    assert steps[:2] == [(0, 3, "left"), (1, 3, "measured")]
    assert steps[-1] == (3, 3, "measured")


def test_only_good_predictions_are_worth_measuring() -> None:
    listed = [Candidate(f"k{n}", "f", 100.0 + n) for n in range(MOST_CANDIDATES + 3)]
    slow, refused = Candidate("slow", "f", 100.0 * WORTH_MEASURING + 1), Candidate("refused", "f", None, "why")
    assert worth_measuring([slow, refused, *reversed(listed)]) == listed[:MOST_CANDIDATES]
    assert worth_measuring([slow, refused, listed[0]]) == listed[:1]
    assert worth_measuring([refused]) == []


def _results(times: Mapping[str, float]) -> dict[str, Result]:
    return {name: Result(name, "v", time, 0.0, 5, None, "now") for name, time in times.items()}


@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ({}, "first"),
        ({"second": 1.0}, "first"),  # not comparable: the first was not measured
        ({"first": 100.0}, "first"),
        ({"first": 100.0, "second": 90.0}, "second"),
        ({"first": 100.0, "third": 90.0, "second": 95.0}, "third"),
        ({"first": 100.0, "second": 97.5}, "first"),
    ],
)
def test_choose(times: dict[str, float], chosen: str) -> None:
    able = [Candidate(name, "f", float(n)) for n, name in enumerate(("first", "second", "third"), start=1)]
    assert choose(able, _results(times)).kernel == chosen
