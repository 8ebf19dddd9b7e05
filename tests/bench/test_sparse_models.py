"""Pruned networks: forms, cells, rows, and the command end to end on a tiny network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench import sparse_models, sparse_zoo, variants
from bench.peers.network import OPERATOR, PLAIN, QDQ
from bench.peers.race import Timing
from bench.peers.rivals import OUR_PART, RIVALS
from bench.sparse_models_rows import ModelCell, ModelRow, read_rows, write_rows
from bench.sparse_zoo import RANDOM, SPARSE, SparseNetwork, feeds_of
from bench.spmm_rows import OURS
from bench.variants import TRAINED, cells_of, variant, zeros_of
from sparsec.reference import OnnxRuntime

CELL = ModelCell("tiny", 1, "4x1", 0.75, "fp32", 1)


def _export(path: Path, batch: int) -> None:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["y"]),
    ]
    weights = {"w1": random.standard_normal((32, 64), np.float32), "w2": random.standard_normal((64, 16), np.float32)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 20, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 20, 16])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    networks = {name: SparseNetwork(name, kind, _export) for name, kind in (("tiny", RANDOM), ("born", SPARSE))}
    for module in (sparse_zoo, variants, sparse_models):
        monkeypatch.setattr(module, "NETWORKS", networks)


def test_networks_that_came_with_zeros_are_not_pruned() -> None:
    cells = cells_of(("tiny", "born"), (1, 2), ("4x1", "1x4"), (0.8, 0.9), "fp32", 1)
    assert len(cells) == 2 * 2 * 2 + 1
    assert [str(cell) for cell in cells if cell.network == "born"] == ["born b1 fp32 trained 0 %"]
    assert cells[-1].pattern == TRAINED


def test_variants_are_pruned_once_and_kept() -> None:
    path = variant(CELL, PLAIN)
    assert zeros_of(path) == pytest.approx(0.75)
    changed = path.stat().st_mtime_ns
    assert variant(CELL, PLAIN).stat().st_mtime_ns == changed
    assert zeros_of(variant(replace(CELL, sparsity=0.0), PLAIN)) == 0


@pytest.mark.parametrize("form", [OPERATOR, QDQ])
def test_quantised_forms_compute_nearly_the_same_and_keep_zeros(form: str) -> None:
    plain, path = variant(CELL, PLAIN), variant(CELL, form)
    feeds = feeds_of(plain)
    (expected,), (found,) = (OnnxRuntime(each, 1, exact=True).run(feeds) for each in (plain, path))
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert ("MatMulInteger" in kinds) == (form == OPERATOR)
    integers = [numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer if len(each.dims) == 2]
    assert {each.dtype for each in integers} == {np.dtype(np.int8)}
    assert all(np.mean(each == 0) >= 0.75 for each in integers)


def test_a_network_is_raced_kept_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.json"
    assert sparse_models.run((CELL,), ("onnxruntime",), path, 0.01, resume=False) == 0
    row = read_rows(path)[CELL]
    assert list(row.timings) == [OURS, "onnxruntime"]
    assert row.errors[OURS] < 1e-5
    write_rows(path, {"a": 1}, [replace(row, settled=True)])
    capsys.readouterr()
    assert sparse_models.run((CELL,), ("onnxruntime",), path, 0.01, resume=True) == 0
    assert "measuring" not in capsys.readouterr().err


def test_rows_survive_the_file(tmp_path: Path) -> None:
    timing = Timing(1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    row = ModelRow(
        cell=CELL,
        weights=RANDOM,
        zeros=0.75,
        layers=2,
        sparse_layers=1,
        compile_seconds=0.5,
        rounds=7,
        settled=True,
        idle=0.0,
        timings={OURS: timing},
        errors={OURS: 0.0},
        failed={},
        absent={},
        revision=None,
        date="",
    )
    write_rows(tmp_path / "rows.json", {"machine": "m"}, [row])
    assert read_rows(tmp_path / "rows.json") == {CELL: row}


def test_every_precision_has_rivals_of_each_kind() -> None:
    assert RIVALS.keys() == OUR_PART.keys()
    for rivals in RIVALS.values():
        assert {rival.dense for rival in rivals} == {True, False}
        assert len({rival.name for rival in rivals}) == len(rivals)
