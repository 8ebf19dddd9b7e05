"""The summary: the lines that say whether the goal is reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.spmm_cells import Cell
from bench.spmm_rows import Row
from bench.spmm_summary import summarise, verdicts

MakeRow = Callable[..., Row]


def test_verdicts(row: MakeRow) -> None:
    rows = [
        row(Cell(64, 32, 16, "unstructured", 0.8), onnxruntime=0.96, libxsmm=1.2),
        row(Cell(64, 32, 16, "unstructured", 0.9), onnxruntime=5.0, libxsmm=1.6, settled=False),
        row(Cell(64, 32, 16, "4x1", 0.9), onnxruntime=5.0, libxsmm=3.0),
    ]
    assert verdicts(rows) == [
        "faster than the best peer in 2 of 3 cells (67 %)",
        "worst against the best dense peer: 0.96 of onnxruntime at 64x32x16 unstructured 0.8",
        "unstructured, 80 to 95 %: median ratio to the best peer 1.28",
        "unstructured, 80 to 95 %, X at most 1 MiB: 50 % of the roof (median of 2 cells; least 50 %)",
        "4x1 and 16x1, 80 to 90 %: 50 % of the roof (median of 1 cells; least 50 %)",
        "spread still wide: 64x32x16 unstructured 0.9",
    ]


def test_a_summary_shows_losses_first_and_needs_no_dense_peer(capsys: pytest.CaptureFixture[str], row: MakeRow) -> None:
    cells = [Cell(64, 32, n, "4x1", 0.9) for n in (16, 32, 48)]
    summarise([row(cell, libxsmm=ratio) for cell, ratio in zip(cells, (1.5, 0.7, 1.1), strict=True)])
    out = capsys.readouterr().out
    assert "faster than the best peer in 2 of 3 cells" in out
    assert out[out.index("Where we lose most") :].index("64x32x32") < out[out.index("Where we lose most") :].index(
        "64x32x48"
    )


def test_without_peers_there_is_nothing_to_say(capsys: pytest.CaptureFixture[str], row: MakeRow) -> None:
    summarise([row()])
    assert capsys.readouterr().out == ""


def test_int8_is_judged_against_deepsparse_and_dense_peers(row: Callable[..., Row]) -> None:
    block = Cell(64, 64, 64, "1x4", 0.9, "int8")
    names = {"deepsparse-int8": 2.0, "openvino-int8": 4.0}
    rows = [row(block, **names), row(replace(block, k=128), **{name: 2 * ratio for name, ratio in names.items()})]
    lines = "\n".join(verdicts(rows))
    assert "4x1 and 1x4, 70 to 95 %, ratio to deepsparse-int8: geometric mean 2.83, worst 2.00" in lines
    assert "blocks at 90 %, ratio to the best dense peer: median 6.00, worst 4.00" in lines
    assert "blocks, N at least 64: 50 % of the roof (median of 2 cells; least 50 %)" in lines


def test_floats_are_judged_by_roofs_too(row: Callable[..., Row]) -> None:
    rows = [
        row(Cell(64, 64, 64, "4x1", 0.9), openvino=2.0),
        row(Cell(64, 1 << 20, 64, "unstructured", 0.9), openvino=2.0),
    ]
    lines = "\n".join(verdicts(rows))
    assert "4x1 and 16x1, 80 to 90 %: 50 % of the roof" in lines
    assert "1 MiB" not in lines
