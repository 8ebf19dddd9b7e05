"""Rows: what is computed from them, and the file that keeps them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.spmm_rows import Row, append, read_rows

MakeRow = Callable[..., Row]


def test_the_best_peer_and_the_best_dense_one(row: MakeRow) -> None:
    found = row(onnxruntime=3.0, openvino=2.5, libxsmm=0.8)
    assert (found.best(), found.lead()) == ("libxsmm", 0.8)
    assert (found.best(dense=True), found.lead(dense=True)) == ("openvino", 2.5)
    assert row().best() is None
    assert row(libxsmm=2.0).lead(dense=True) is None


def test_the_share_of_the_roof_is_of_the_rate_on_nonzeros(row: MakeRow) -> None:
    assert row().roof_share == pytest.approx(3200 / 1000 / 6.4)


def test_rows_survive_the_file_and_the_last_of_a_cell_counts(tmp_path: Path, row: MakeRow) -> None:
    path, first, last = tmp_path / "new" / "rows.jsonl", row(settled=False), row(libxsmm=2.0)
    other = replace(first, cell=replace(first.cell, pattern="4x1"))
    append(path, [{"run": {"cpu": "of a test"}}])
    append(path, [first.as_dict(), other.as_dict(), last.as_dict()])
    assert read_rows(path) == {last.cell: last, other.cell: other}


def test_a_line_that_was_cut_short_costs_only_itself(tmp_path: Path, row: MakeRow) -> None:
    path, found = tmp_path / "rows.jsonl", row()
    path.write_text(json.dumps(found.as_dict())[:100])
    assert read_rows(path) == {}
    append(path, [found.as_dict()])
    assert read_rows(path) == {found.cell: found}


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "none") == {}
