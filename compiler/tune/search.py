"""The search: which candidates to measure, in which order, for how long; everything measured is kept at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sparsec.cost.database import Database, Result
from sparsec.cost.layer_key import kernel_version
from sparsec.kernels.table import KERNELS
from sparsec.passes.select_format import choose
from sparsec.tune.measurer import Measurement, Measurer
from sparsec.tune.task import Task

LEAST_SECONDS, MOST_SECONDS = 0.1, 2.0  # for timing one layer


@dataclass(frozen=True, slots=True)
class Progress:
    """Told before and after each layer: its number, how many there are, and what is known of it."""

    number: int
    count: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Outcome:
    """One distinct layer: `default` is the cost model's kernel, `choice` what compilations will use.

    Times are nanoseconds by kernel, where measured. `state` is "measured" (now), "known" (before) or "left" (no time).
    """

    names: tuple[str, ...]
    shape: str
    pattern: str
    default: str
    choice: str
    predicted_ns: Mapping[str, float]
    measured_ns: Mapping[str, float]
    rejected: Mapping[str, str]
    state: str

    @property
    def gain(self) -> float:
        """How many times as fast as the default the choice was measured; 1 where that is the default."""
        if self.choice == self.default or not {self.choice, self.default} <= self.measured_ns.keys():
            return 1.0
        return self.measured_ns[self.default] / self.measured_ns[self.choice]

    def as_dict(self) -> dict[str, object]:
        """JSON-able."""
        return {**asdict(self), "gain": self.gain}


def tune(
    tasks: Sequence[Task],
    measurer: Measurer,
    database: Database,
    seconds: float,
    progress: Callable[[Progress], None] | None = None,
) -> list[Outcome]:
    """Measure what the database does not know yet of `tasks`, in their order, until all is known or `seconds` are over.

    The results of a layer are stored as soon as it is measured, so an interruption loses one layer at most.
    """
    report = progress or (lambda _: None)
    deadline = time.monotonic() + seconds
    versions = {name: kernel_version(kernel) for name, kernel in KERNELS.items()}
    outcomes = []
    for number, task in enumerate(tasks):
        results = dict(database.results(measurer.machine, task.key, versions))
        state = "known" if all(each.kernel in results for each in task.candidates) else "left"
        report(Progress(number, len(tasks), _outcome(task, results, state)))
        if state == "left" and (left := deadline - time.monotonic()) > 0:
            share = min(MOST_SECONDS, max(LEAST_SECONDS, left / (len(tasks) - number) / 2))
            new = _results(measurer.measure(task, _to_measure(task, results), share), versions)
            database.store(measurer.machine, task.key, new)
            results |= {each.kernel: each for each in new}
            state = "measured"
        outcomes.append(_outcome(task, results, state))
        report(Progress(number + 1, len(tasks), outcomes[-1]))
    return outcomes


def _to_measure(task: Task, results: Mapping[str, Result]) -> list[str]:
    """What is not known, and for comparison in the same rounds the best of what is: the incumbent."""
    unknown = [each.kernel for each in task.candidates if each.kernel not in results]
    known = [results[each.kernel] for each in task.candidates if each.kernel in results]
    timed = [each for each in known if each.median_ns is not None]
    incumbents = {min(timed, key=lambda each: each.median_ns or 0.0).kernel} if timed else set()
    if task.default in results and results[task.default].fault is None:
        incumbents.add(task.default)
    return [each.kernel for each in task.candidates if each.kernel in incumbents or each.kernel in unknown]


def _results(measurements: Sequence[Measurement], versions: Mapping[str, str]) -> list[Result]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        Result(each.kernel, versions[each.kernel], each.median_ns, each.spread_ns, each.rounds, each.fault, now)
        for each in measurements
    ]


def _outcome(task: Task, results: Mapping[str, Result], state: str) -> Outcome:
    sound = [each for each in task.candidates if each.kernel not in results or results[each.kernel].fault is None]
    measured = {name: each.median_ns for name, each in results.items() if each.median_ns is not None}
    return Outcome(
        names=task.names,
        shape=task.shape,
        pattern=task.facts.pattern if task.facts else "two activations",
        default=task.default,
        choice=choose(sound, results).kernel if sound else task.default,
        predicted_ns={each.kernel: each.predicted_ns or 0.0 for each in task.candidates},
        measured_ns=measured,
        rejected={name: each.fault for name, each in results.items() if each.fault is not None},
        state=state,
    )
