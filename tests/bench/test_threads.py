"""Speed-ups: the cases are large enough, results do not depend on threads, and the table is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import threads
from bench.peers import race
from bench.peers.onnx_layer import onnx_layer
from bench.spmm_cells import Cell, make_layer
from bench.threads_cells import LEAST_FLOPS, SKEWED, Case, falling, few_rows, layer_cases, one_row


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "FEWEST_ROUNDS", 2)
    monkeypatch.setattr(race, "SETTLED", 1e9)
    monkeypatch.setattr(threads, "TURN_NS", 1e4)


def _case() -> Case:
    layer = make_layer(Cell(32, 64, 40, "unstructured", 0.8))
    return Case("small", 1, lambda: (onnx_layer(layer), {"x": layer.tokens}))


def test_all_layers_are_above_10_mflop_and_skewed_ones_are_there() -> None:
    cases = layer_cases()
    assert all(case.flops and case.flops >= LEAST_FLOPS for case in cases)
    for name in SKEWED:
        assert any(name in case.name for case in cases)


def test_skewed_weights_are_skewed() -> None:
    random = np.random.default_rng(0)
    counts = {make: (make(64, 640, random) != 0).sum(axis=1) for make in (one_row, few_rows, falling)}
    assert sorted(counts[one_row])[-2:] == [0, 640]
    assert (counts[few_rows] == 640).sum() == 2
    assert counts[falling][0] == 640
    assert counts[falling][-1] < 200


def test_speedups_are_measured_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "threads.json"
    assert threads.run((_case(),), (1, 2), 0.001, path) == 0
    assert "2 threads, layers above 10 MFLOP" in capsys.readouterr().out
    (case,) = json.loads(path.read_text())["cases"]
    assert set(case["timings"]) == {"1", "2"}
