"""What a race in Node says, as a row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.wasm import _row
from bench.wasm import run as race
from bench.wasm_cells import cells
from bench.wasm_results import put_rows
from bench.wasm_threads import rows_of
from sparsec.errors import UsageError

FOUND = {
    "node": "v20",
    "peer": "ORT 1",
    "rows": {
        "peer": {"wall": [10.0, 20.0, 30.0], "cpu": [8.0, 8.0, 8.0], "error": 0},
        "wasm32": {"wall": [1.0, 2.0, 9.0], "cpu": [1.0, 2.0, 4.0], "error": 1e-6},
    },
}


def test_ratios_are_of_cpu_times_round_by_round() -> None:
    (cell,) = (each for each in cells() if each.name == "mobilenet-v2 dense")
    row = _row(cell, "wasm32", FOUND, 7, 5)
    assert (row.milliseconds, row.cpu_milliseconds) == (2.0, 2.0)
    assert (row.peer_milliseconds, row.peer_cpu_milliseconds) == (20.0, 8.0)
    assert row.ratio == 4.0
    assert row.p10 < 4.0 < row.p90
    assert (row.cell, row.goal, row.bytes, row.weight_bytes) == (cell.name, 0.95, 7, 5)


def test_threads_are_compared_with_the_first_number_of_them() -> None:
    walls = {"1": [4.0, 6.0, 8.0], "2": [2.0, 3.0, 16.0]}
    found = {"node": "v20", "rows": {count: {"wall": wall, "same": True} for count, wall in walls.items()}}
    first, second = rows_of("cell", found)
    assert (first.threads, first.milliseconds, first.speedup, first.best) == (1, 6.0, 1.0, 1.0)
    assert (second.threads, second.milliseconds, second.speedup) == (2, 3.0, 2.0)
    assert (second.fastest, second.best) == (2.0, 2.0)


def test_an_unknown_cell_is_refused(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.wasm._node", lambda: ["node"])
    monkeypatch.setattr("bench.wasm._peer", lambda: tmp_path)
    with pytest.raises(UsageError, match="no such cell"):
        race("nothing like it", 1.0, tmp_path / "wasm.json")


def test_rows_are_replaced_by_name_and_others_stay(tmp_path: Path) -> None:
    file, names = tmp_path / "rows.json", ["first", "second"]
    put_rows(file, [{"cell": "second", "x": 1}], "cell", names)
    put_rows(file, [{"cell": "first", "x": 2}, {"cell": "first", "x": 3}], "cell", names)
    put_rows(file, [{"cell": "second", "x": 4}], "cell", names)
    assert [(row["cell"], row["x"]) for row in json.loads(file.read_text())["rows"]] == [
        ("first", 2),
        ("first", 3),
        ("second", 4),
    ]
    put_rows(file, [], "cell", ["second"])
    assert [row["cell"] for row in json.loads(file.read_text())["rows"]] == ["second"]
