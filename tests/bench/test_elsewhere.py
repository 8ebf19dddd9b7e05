"""Layers carried to another machine: what is carried, and that it runs there without the compiler."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.elsewhere.carry import RIVALS, THREADS, carry, worth_racing
from bench.spmm_cells import UNSTRUCTURED, Cell
from sparsec.errors import UsageError
from sparsec.report import Candidate, LayerReport


def layer(choice: str, **predicted: float | None) -> LayerReport:
    listed = tuple(Candidate(name, "csr", time) for name, time in predicted.items())
    return LayerReport("y", "linear", "1 x 1 -> 1", 0.1, "", listed, choice, "", 1.0)


def test_the_chosen_kernel_and_the_best_predicted_others_are_raced() -> None:
    assert worth_racing(layer("b", a=2.0, b=1.0, c=None, d=1.5, e=99.0)) == ["b", "d", "a"]
    many = {name: 1.0 + number / 10 for number, name in enumerate("abcdefg")}
    assert worth_racing(layer("a", **many)) == list("abcdefg")[: 1 + RIVALS]


def test_what_was_measured_to_be_faster_is_chosen_though_predicted_to_be_slow() -> None:
    assert worth_racing(layer("b", a=1.0, b=50.0)) == ["b", "a"]


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        carry(tmp_path, "native", ())


@pytest.mark.parametrize("cell", [Cell(48, 64, 16, "4x1", 0.5, "int8"), Cell(48, 64, 1, UNSTRUCTURED, 0.5)], ids=str)
def test_layers_run_there(cell: Cell, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    carry(folder, "native", [cell])
    (described,) = json.loads((folder / "cells.json").read_text())["cells"]
    assert described["chosen"].keys() == {str(threads) for threads in THREADS}
    assert set(described["chosen"].values()) <= described["kernels"].keys()
    command = [sys.executable, "run.py", "--threads", "1", "--json", "found.json"]
    subprocess.run(command, cwd=folder, env={"PATH": "/usr/bin:/bin"}, check=True, capture_output=True, timeout=100)
    (row,) = json.loads((folder / "found.json").read_text())["rows"]
    assert row["right"]
    assert row["chosen"] == described["chosen"]["1"]
    assert row["kernels"].keys() == described["kernels"].keys()
    assert row["us"]["sparsec"] == row["kernels"][row["chosen"]] > 0
