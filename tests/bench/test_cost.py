"""The cost bench: what cells there are, and that kernels of every arithmetic are timed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import cost_model
from bench.cost_cells import ARITHMETICS, GRID, MIXED, CostCell, held_out, mixed
from bench.cost_model import cells_of
from sparsec.kernels.arithmetic import Arithmetic
from sparsec.kernels.problem import LinearProblem
from sparsec.targets import host_features
from sparsec.tune import local


def test_held_out_cells_are_no_fitted_ones_and_have_every_pattern() -> None:
    cells = held_out()
    assert not {cell.problem for cell in cells} & {cell.problem for cell in GRID}
    assert {"unstructured", "4x1", "8x1", "16x1", "1x4", "2:4", "1:4", "4:8"} == {cell.pattern for cell in cells}
    assert 100 < len(cells) < 250


@pytest.mark.parametrize("arithmetic", ARITHMETICS.values())
def test_weights_have_the_type_of_the_arithmetic_and_the_zeros_asked_for(arithmetic: Arithmetic) -> None:
    weight = CostCell(LinearProblem(20, 64, 32, arithmetic), "4x1", 0.75).weight()
    assert weight.dtype == (np.int8 if arithmetic.stored == "i8" else np.float32)
    assert np.mean(weight == 0) == 0.75


@pytest.mark.parametrize("precision", ARITHMETICS)
def test_kernels_of_every_precision_are_timed(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if precision == "bf16" and "avx512bf16" not in host_features():
        pytest.skip("this machine has no bfloat16 instruction")
    monkeypatch.setattr(local, "FEWEST_ROUNDS", 1)
    monkeypatch.setattr(local, "TURN_SECONDS", 1e-5)
    arithmetic = ARITHMETICS[precision]
    cell = CostCell(LinearProblem(20, 64, 32, arithmetic), "unstructured", 0.8)
    path = tmp_path / "cost.json"
    assert cost_model.run((cell,), path, target="native", seconds=0.001) == 0
    (row,) = json.loads(path.read_text())["cells"]
    assert row["best"] in row["measured_ns"]
    assert row["choice"] in row["predicted_ns"]
    assert row["wrong"] == {}


def test_mixed_cells_have_parts_of_other_densities_and_random_ones_beside() -> None:
    assert {*MIXED, "unstructured"} == {cell.pattern for cell in mixed()}
    for pattern in MIXED:
        weights = [CostCell(LinearProblem(20, 200, 100), name, 0.95).weight() for name in (pattern, "unstructured")]
        assert np.count_nonzero(weights[0]) > 1.2 * np.count_nonzero(weights[1])


def test_cells_without_a_kernel_are_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = CostCell(LinearProblem(20, 64, 32), "unstructured", 0.8)
    able = cost_model.candidates
    monkeypatch.setattr(
        cost_model, "candidates", lambda problem, *rest: able(problem, *rest) if problem.tokens == 20 else []
    )
    cells = (cell, CostCell(LinearProblem(30, 64, 32), "unstructured", 0.8))
    assert cost_model.run(cells, tmp_path / "cost.json", target="native", seconds=0.001) == 0
    assert "1 cells have no kernel" in capsys.readouterr().out


def test_other_precisions_have_new_cells_only() -> None:
    assert cells_of("fp32", None, quick=False) == GRID
    assert {cell.problem.arithmetic for cell in cells_of("int8", None, quick=True)} == {ARITHMETICS["int8"]}
