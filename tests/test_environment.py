"""The environment variables, read in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsec.cost.database import Database, default_database
from sparsec.cost.machine import GENERIC
from sparsec.cost.machine_file import load_machine, store_machine
from sparsec.environment import Environment, cache_folder, read_environment
from sparsec.errors import DatabaseError, SparsecError, UsageError


def test_nothing_set_shows_nothing() -> None:
    assert read_environment({}) == Environment(debug=0, dump=None)


def test_both_are_read() -> None:
    assert read_environment({"SPARSEC_DEBUG": "2", "SPARSEC_DUMP": "out"}) == Environment(2, Path("out"))


@pytest.mark.parametrize("level", ["4", "-1", "yes"])
def test_an_unknown_level_is_refused(level: str) -> None:
    with pytest.raises(UsageError, match="SPARSEC_DEBUG"):
        read_environment({"SPARSEC_DEBUG": level})


@pytest.mark.parametrize(
    ("base", "place"), [("/here", "/here/sparsec"), ("", "~/.cache/sparsec"), ("here", "~/.cache/sparsec")]
)
def test_the_cache_is_below_an_absolute_folder(base: str, place: str) -> None:
    assert cache_folder({"XDG_CACHE_HOME": base}) == Path(place).expanduser()


def test_a_user_without_a_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.chdir(tmp_path)
    assert load_machine("x86-64-v3").machine == GENERIC
    assert not default_database().exists()
    with pytest.raises(DatabaseError, match="cannot be made"):
        Database(default_database())
    with pytest.raises(SparsecError, match="XDG_CACHE_HOME"):
        store_machine(GENERIC, "x86-64-v3", "2026-01-01")
    assert not list(tmp_path.iterdir())
