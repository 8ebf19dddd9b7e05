"""The command, end to end on a tiny grid."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import roofs, spmm
from bench.peers import race
from bench.roofs import Roof, Roofs
from bench.spmm_cells import Cell, grid
from bench.spmm_rows import OURS, read_rows
from sparsec.errors import UsageError

CELLS = (Cell(32, 16, 20, "unstructured", 0.8), Cell(32, 16, 20, "4x1", 0.9))


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "TURN_NS", 1e4)
    monkeypatch.setattr(race, "FEWEST_ROUNDS", 2)
    monkeypatch.setattr(race, "SETTLED", 1e9)
    monkeypatch.setattr(roofs, "REPEATS", 1)
    monkeypatch.setattr(roofs, "REPEAT_SECONDS", 1e-5)
    monkeypatch.setattr(roofs, "FAR", 32 << 20)


def test_cells_are_raced_kept_and_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    assert spmm.run(CELLS[:1], "onnxruntime,scipy-csr", path, 0.001) == 0
    assert spmm.run(CELLS, "onnxruntime,scipy-csr", path, 0.001) == 0
    assert "1 cells to race, 1 known already" in capsys.readouterr().out
    rows = read_rows(path)
    assert set(rows) == set(CELLS)
    for row in rows.values():
        assert list(row.timings) == [OURS, "onnxruntime", "scipy-csr"]
        assert row.failed == {}
        assert row.flops == 2 * row.nonzeros * 20
        assert all(error < 1e-4 for error in row.errors.values())


def test_another_peer_is_reason_to_race_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    spmm.run(CELLS[:1], "scipy-csr", path, 0.001)
    spmm.run(CELLS[:1], "onnxruntime,scipy-csr", path, 0.001)
    assert capsys.readouterr().out.count("1 cells to race") == 2


def test_unknown_peers_are_refused() -> None:
    with pytest.raises(UsageError, match="no such peer"):
        spmm.run(CELLS, "magic", None, 1.0)


def test_blocks_of_several_rows_are_measured_by_the_roof_in_registers() -> None:
    rates = Roofs(Roof("", "", 100, 100), Roof("", "", 80, 80), Roof("", "", 90, 90), (), ())
    cells = {pattern: Cell(32, 32, 1, pattern, 0.5) for pattern in ("unstructured", "1x4", "4x1", "16x1", "2:4")}
    assert {pattern: spmm.roof_of(cell, rates) for pattern, cell in cells.items()} == {
        "unstructured": 80,
        "1x4": 80,
        "4x1": 100,
        "16x1": 100,
        "2:4": 80,
    }


def test_int8_layers_are_raced_against_int8_engines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    (cell,) = grid([(32, 64)], [20], ["1x4"], [0.5], "int8")
    assert spmm.run((cell,), "onnxruntime-int8,onnxruntime-qdq", path, 0.001) == 0
    row = read_rows(path)[cell]
    assert list(row.timings) == [OURS, "onnxruntime-int8", "onnxruntime-qdq"]
    assert row.failed == {}


def test_no_cell_is_begun_when_time_is_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    assert spmm.run(CELLS, "scipy-csr", path, 0.001, minutes=0.0) == 0
    assert "2 cells are left" in capsys.readouterr().out
    assert not read_rows(path)
