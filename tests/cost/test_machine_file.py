"""Calibrated machines: what is stored comes back, and whatever is damaged is ignored with a reason."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from sparsec.cost.host import cache_sizes, cpu_name, machine_id
from sparsec.cost.machine import GENERIC
from sparsec.cost.machine_file import load_machine, machine_path, store_machine
from sparsec.errors import SparsecError

MINE = replace(GENERIC, name="mine", ghz=4.25, cores=3)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not made yet"))


def test_without_a_calibration_the_machine_is_generic() -> None:
    known = load_machine("x86-64-v4")
    assert known.machine == GENERIC
    assert "--calibrate" in known.note


def test_round_trip() -> None:
    path = store_machine(MINE, "x86-64-v4", "2026-01-02")
    assert load_machine("x86-64-v4").machine == MINE
    assert "2026-01-02" in load_machine("x86-64-v4").note
    assert [each.name for each in path.parent.iterdir()] == [path.name], "no temporary file is left"


def test_each_target_has_its_own() -> None:
    store_machine(MINE, "x86-64-v4", "now")
    assert load_machine("x86-64-v3").machine == GENERIC


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"version": 1}', '{"version": 1, "calibrated": "now", "machine": {}}', "\x00\xff", "NaN"],
)
def test_damage_is_ignored_and_told(text: str) -> None:
    path = store_machine(MINE, "x86-64-v4", "now")
    path.write_text(text)
    known = load_machine("x86-64-v4")
    assert known.machine == GENERIC
    assert "cannot be read" in known.note
    store_machine(MINE, "x86-64-v4", "now")
    assert load_machine("x86-64-v4").machine == MINE


@pytest.mark.parametrize(
    ("field", "value"), [("ghz", 0), ("ghz", -1.0), ("ghz", "4"), ("l1_bytes", 1.5), ("name", 3), ("cores", True)]
)
def test_impossible_figures_are_ignored(field: str, value: object) -> None:
    path = store_machine(MINE, "x86-64-v4", "now")
    document = json.loads(path.read_text())
    document["machine"][field] = value
    path.write_text(json.dumps(document))
    assert load_machine("x86-64-v4").machine == GENERIC


def test_a_folder_that_cannot_be_made() -> None:
    machine_path("x").parent.parent.write_text("a file")
    with pytest.raises(SparsecError, match="cannot be kept"):
        store_machine(MINE, "x86-64-v4", "now")
    assert load_machine("x86-64-v4").machine == GENERIC


def test_the_host_has_a_name() -> None:
    assert cpu_name()
    assert machine_id().startswith(cpu_name())


def test_cache_sizes(tmp_path: Path) -> None:
    for index, (kind, level, size) in enumerate(
        [("Data", "1", "48K"), ("Instruction", "1", "32K"), ("Unified", "2", "1024K"), ("Unified", "3", "?")]
    ):
        for core in (min(os.sched_getaffinity(0)),):
            folder = tmp_path / f"cpu{core}" / "cache" / f"index{index}"
            folder.mkdir(parents=True)
            for name, text in (("type", kind), ("level", level), ("size", size)):
                (folder / name).write_text(text + "\n")
    assert cache_sizes(tmp_path) == {1: 48 << 10, 2: 1 << 20}
    assert cache_sizes(tmp_path / "nowhere") == {}
