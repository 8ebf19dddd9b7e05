"""From measurements to choices: what is in the database decides, unless it is told not to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import sparsec
from sparsec.cost.database import Database, default_database
from sparsec.cost.host import machine_id
from sparsec.driver import compile_layers
from sparsec.errors import DatabaseError
from sparsec.kernels.arithmetic import BF16, F32, U8S8, Arithmetic
from sparsec.options import Options
from sparsec.targets import host_features, resolve
from sparsec.tune.local import LocalMeasurer
from sparsec.tune.measurer import Measurement, Measurer
from sparsec.tune.search import tune
from sparsec.tune.task import Task, tasks_of
from tests.tune.models import two_layers, two_quantised_layers


class LastIsBest:
    """Whatever is predicted to be slowest is measured to be fastest."""

    machine = machine_id()
    first_is_wrong = False

    def measure(self, task: Task, kernels: Sequence[str], seconds: float) -> list[Measurement]:
        order = [each.kernel for each in task.candidates]
        if self.first_is_wrong:
            order[0] = "none"
            wrong = Measurement(task.default, None, 0.0, 0, "wrong result")
            return [wrong, *(Measurement(name, 1000.0, 1.0, 5) for name in kernels if name in order)]
        return [Measurement(name, 1000.0 / (1 + order.index(name)), 1.0, 5) for name in kernels]


class FirstIsWrong(LastIsBest):
    first_is_wrong = True


@dataclass(frozen=True)
class Case:
    """A network, how it is compiled, and in what its layers multiply then."""

    model: bytes
    arithmetic: Arithmetic = F32
    precision: str = "f32"


MODEL = two_layers().SerializeToString()
SINGLE = Case(MODEL)
CASES = {
    "f32": SINGLE,
    "bf16": Case(MODEL, BF16, "bf16"),
    "u8s8": Case(two_quantised_layers().SerializeToString(), U8S8),
}


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    if request.param == "bf16" and "avx512bf16" not in host_features():
        pytest.skip("this machine has no bfloat16 instruction")
    return CASES[request.param]


def tuned(path: Path, measurer: Measurer, case: Case = SINGLE) -> dict[str, str]:
    """The kernel that was fastest, by layer."""
    tasks = tasks_of(compile_layers(case.model, Options(precision=case.precision, use_measurements=False)))
    with Database(path) as database:
        outcomes = tune(tasks, measurer, database, 10)
    return {name: each.choice for each in outcomes for name in each.names}


def choices(case: Case = SINGLE, **options: object) -> dict[str, str]:
    model = sparsec.compile(case.model, precision=case.precision, **options)  # type: ignore[arg-type]
    assert np.isfinite(np.asarray(model(np.ones((32, 24), np.float32)))).all()
    return {layer.name: layer.choice for layer in model.report.layers}


def test_compile_follows_the_database(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "tune.db"
    before = choices(case)
    wanted = tuned(path, LastIsBest(), case)
    assert any(kernel.startswith(f"{case.arithmetic.name}_") for kernel in wanted.values())
    after = choices(case, measurements=path)
    assert {name: after[name] for name in wanted} == wanted
    assert after != before
    assert choices(case, measurements=path, use_measurements=False) == before


def test_layers_are_measured_in_their_own_arithmetic(case: Case, tmp_path: Path) -> None:
    """Real kernels, for a moment; what is stored is found again, and every result is right."""
    path = tmp_path / "tune.db"
    wanted = tuned(path, LocalMeasurer(resolve("native")), case)
    report = sparsec.compile(case.model, precision=case.precision, measurements=path).report
    measured = [
        layer for layer in report.layers if layer.name in wanted and layer.choice.startswith(case.arithmetic.name)
    ]
    assert measured
    for layer in measured:
        assert layer.choice == wanted[layer.name]
        assert len([each for each in layer.candidates if each.measured_ns is not None]) > 1
        assert not any("rejected" in (each.refusal or "") for each in layer.candidates)


def test_arithmetics_know_nothing_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "tune.db"
    tuned(path, LastIsBest(), CASES["f32"])
    quantised = sparsec.compile(CASES["u8s8"].model, measurements=path).report
    assert not any(each.measured_ns for layer in quantised.layers for each in layer.candidates)


def test_the_default_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = choices()
    wanted = tuned(default_database(), LastIsBest())
    assert {name: choices()[name] for name in wanted} == wanted
    assert choices(use_measurements=False) == before


def test_the_report_says_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "tune.db"
    wanted = tuned(path, LastIsBest())
    report = sparsec.compile(MODEL, measurements=path).report
    for layer in report.layers:
        if layer.name in wanted:
            assert "measured" in layer.reason
            assert next(each.measured_ns for each in layer.candidates if each.kernel == layer.choice) is not None
    assert any("generic machine" in note for note in report.notes)


def test_kernels_with_wrong_results_are_never_chosen(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "tune.db"
    wanted = tuned(path, FirstIsWrong(), case)
    assert wanted
    report = sparsec.compile(case.model, precision=case.precision, measurements=path).report
    for layer in report.layers:
        if layer.name in wanted:
            assert layer.choice == wanted[layer.name]
            assert any("rejected by the tuner" in (each.refusal or "") for each in layer.candidates)


def test_a_damaged_database_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    default_database().parent.mkdir()
    default_database().write_bytes(b"garbage" * 1000)
    with pytest.raises(DatabaseError, match="no-tune-cache"):
        sparsec.compile(MODEL)
    assert sparsec.compile(MODEL, use_measurements=False)


def test_equal_layers_are_one_task() -> None:
    unit = compile_layers(MODEL, Options(use_measurements=False))
    tasks = tasks_of(unit)
    assert len({task.key for task in tasks}) == len(tasks)
    assert all(task.share > 0 for task in tasks)
