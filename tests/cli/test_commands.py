"""Every command on a good path, as a person and as a program reads it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsec as package
from sparsec.targets import host_features
from tests.cli.command_line import Sparsec

needs_bf16 = pytest.mark.skipif("avx512bf16" not in host_features(), reason="this machine has no bfloat16 instruction")


def test_help_lists_every_command_with_a_sentence(sparsec: Sparsec) -> None:
    found = sparsec("--help")
    assert found.code == 0
    for name in ("compile", "run", "verify", "benchmark", "explain", "targets", "opt"):
        assert f"\n  {name} " in found.out
        own = sparsec(name, "--help")
        assert own.code == 0
        assert own.out.startswith(f"Usage: sparsec {name}")


def test_version_names_the_product(sparsec: Sparsec) -> None:
    assert sparsec("--version").out.startswith("sparsec ")


def test_compile_writes_an_artifact_and_says_so_on_stderr(sparsec: Sparsec, model: Path, tmp_path: Path) -> None:
    found = sparsec("compile", model, "-o", tmp_path / "m.sparsec")
    assert (found.code, found.out) == (0, "")
    assert "1 layers" in found.err
    assert [each.name for each in tmp_path.iterdir()] == ["m.sparsec"]


def test_compile_names_the_artifact_after_the_model(
    sparsec: Sparsec, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sparsec("compile", model).code == 0
    assert [each.name for each in tmp_path.iterdir()] == ["tiny.sparsec"]


def test_any_machine_compiles_for_another_processor_but_does_not_verify_there(
    sparsec: Sparsec, model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "arm.sparsec"
    assert "for another processor" in sparsec("compile", model, "--target", "aarch64", "-o", output, "--verify").err
    assert not output.exists()
    found = sparsec("compile", model, "--target", "aarch64", "-o", output)
    assert (found.code, "for aarch64, 1 layers" in found.err) == (0, True)
    assert sparsec("explain", model, "--target", "aarch64").code == 0
    assert sparsec("run", output, "--random").code == 2


def test_compile_json_is_alone_on_stdout(sparsec: Sparsec, model: Path, tmp_path: Path) -> None:
    found = sparsec("compile", model, "-o", tmp_path / "m.sparsec", "--verify", "--json")
    facts = json.loads(found.out)
    assert facts["inputs"] == [{"name": "x", "dtype": "float32", "shape": [2, 24]}]
    assert facts["bytes"] == (tmp_path / "m.sparsec").stat().st_size
    assert facts["verification"]["passed"] is True


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler here")
def test_compile_writes_libraries_for_c(sparsec: Sparsec, model: Path) -> None:
    folder = model.parent / "library"
    found = sparsec("compile", model, "--emit", "static", "--weights", "beside", "-o", folder)
    assert found.code == 0, found.err
    assert {file.suffix for file in folder.iterdir()} == {".a", ".h", ".weights"}


def test_a_library_for_webassembly_is_refused_as_such(sparsec: Sparsec, model: Path) -> None:
    found = sparsec("compile", model, "--emit", "shared", "--target", "wasm32", "-o", model.parent / "library")
    assert found.code == 2
    assert "Code for WebAssembly is no library for C" in found.err


def test_compile_writes_a_package_for_the_web_with_weights_of_half_the_bytes(sparsec: Sparsec, model: Path) -> None:
    sizes = []
    for storage in ("fp32", "fp16"):
        folder = model.parent / storage
        found = sparsec("compile", model, "--emit", "wasm", "--weights", "beside", "--storage", storage, "-o", folder)
        assert found.code == 0, found.err
        sizes.append((folder / "weights.bin").stat().st_size)
    assert sizes[1] < 0.75 * sizes[0]


def test_compile_states_the_error_of_weights_stored_as_fp16(sparsec: Sparsec, model: Path) -> None:
    found = sparsec("compile", model, "--storage", "fp16", "--verify", "-o", model.parent / "half.sparsec")
    assert found.code == 0, found.err
    assert "with weights stored as fp16 the largest error is 0.0" in found.out
    assert (model.parent / "half.sparsec").exists()


def test_text_has_no_storage(sparsec: Sparsec, model: Path) -> None:
    found = sparsec("compile", model, "--emit", "llvm", "--storage", "fp16")
    assert found.code == 2
    assert "--storage goes with --emit artifact, wasm, static, shared only" in found.err


@pytest.mark.parametrize(("level", "sign"), [("mlir", "func.func private"), ("llvm", "define void"), ("asm", ".globl")])
def test_compile_emits_text(sparsec: Sparsec, model: Path, level: str, sign: str) -> None:
    found = sparsec("compile", model, "--emit", level)
    assert found.code == 0
    assert sign in found.out


def test_shape_fixes_what_the_model_leaves_open(sparsec: Sparsec, dynamic_model: Path) -> None:
    found = sparsec("run", dynamic_model, "--shape", "x=5,24", "--random", "--json")
    assert json.loads(found.out)["outputs"]["y"]["shape"] == [5, 16]


@pytest.fixture(scope="module")
def shapes(dynamic_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact for three numbers of rows."""
    path = tmp_path_factory.mktemp("shapes") / "rows.sparsec"
    package.compile(dynamic_model, shapes=[{"x": (rows, 24)} for rows in (5, 1, 33)]).save(path)
    return path


def test_a_name_of_an_input_given_again_begins_another_shape(
    sparsec: Sparsec, dynamic_model: Path, tmp_path: Path
) -> None:
    options = [part for rows in (5, 1, 33) for part in ("--shape", f"x={rows},24")]
    found = sparsec("compile", dynamic_model, *options, "-o", tmp_path / "m.sparsec", "--verify", "--json")
    assert found.code == 0
    facts = json.loads(found.out)
    assert [each["inputs"][0]["shape"] for each in facts["shapes"]] == [[5, 24], [1, 24], [33, 24]]
    assert all(each["verification"]["passed"] for each in facts["shapes"])
    assert {key: facts[key] for key in facts["shapes"][0]} == facts["shapes"][0]
    told = sparsec("compile", dynamic_model, *options, "-o", tmp_path / "m.sparsec", "--verify")
    assert told.out.count("verified against") == 3
    assert "x: float32[33, 24]" in told.out
    assert "3 shapes" in told.err


def test_an_artifact_for_several_shapes_is_told_which(sparsec: Sparsec, dynamic_model: Path, shapes: Path) -> None:
    for options, rows in (((), 5), (("--shape", "x=33,24"), 33)):
        found = json.loads(sparsec("run", shapes, "--random", "--json", *options).out)
        assert found["outputs"]["y"]["shape"] == [rows, 16]
        layers = [part["layer"] for part in json.loads(sparsec("explain", shapes, "--json", *options).out)["parts"]]
        assert any(f"N={rows}" in each["shape"] or str(rows) in each["shape"] for each in layers if each)
        checked = sparsec("verify", dynamic_model, "--artifact", shapes, "--json", *options)
        assert checked.code == 0
        assert json.loads(checked.out)["outputs"][0]["shape"] == [rows, 16]
        assert sparsec("benchmark", shapes, "--repeats", "1", "--json", "-", *options).code == 0


def test_files_for_inputs_tell_which_shape_is_meant(sparsec: Sparsec, shapes: Path, tmp_path: Path) -> None:
    for rows in (33, 1):
        np.save(tmp_path / "x.npy", np.ones((rows, 24), np.float32))
        found = sparsec("run", shapes, "--input", f"x={tmp_path / 'x.npy'}", "--json")
        assert json.loads(found.out)["outputs"]["y"]["shape"] == [rows, 16]
    np.save(tmp_path / "x.npy", np.ones((2, 24), np.float32))
    found = sparsec("run", shapes, "--input", f"x={tmp_path / 'x.npy'}")
    assert found.code == 2
    assert "no such shape" in found.err
    assert "x[5, 24] or x[1, 24] or x[33, 24]" in found.err


def test_run_reads_npy_and_writes_npz(sparsec: Sparsec, artifact: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 24), np.float32))
    found = sparsec("run", artifact, "--input", f"x={tmp_path / 'x.npy'}", "-o", tmp_path / "out.npz")
    assert found.code == 0
    with np.load(tmp_path / "out.npz") as file:
        assert file["y"].shape == (2, 16)
        assert (file["y"] >= 0).all()


def test_run_takes_the_same_random_input_for_the_same_seed(sparsec: Sparsec, artifact: Path) -> None:
    def mean(seed: int) -> float:
        found = sparsec("run", artifact, "--input", "x=random", "--seed", seed, "--json")
        return float(json.loads(found.out)["outputs"]["y"]["mean"])

    assert mean(1) == mean(1)
    assert mean(1) != mean(2)


def test_verify_states_error_tolerance_and_verdict(sparsec: Sparsec, model: Path, artifact: Path) -> None:
    found = sparsec("verify", model, "--artifact", artifact)
    assert found.code == 0
    assert "pass" in found.out
    assert "verified against ONNX Runtime" in found.out
    facts = json.loads(sparsec("verify", model, "--json").out)
    assert facts["passed"] is True
    assert facts["outputs"][0]["max_error"] <= facts["outputs"][0]["tolerance"]


def test_verify_fails_an_artifact_of_another_network(
    sparsec: Sparsec, model: Path, artifact: Path, tmp_path: Path
) -> None:
    import onnx
    from onnx import numpy_helper

    other = onnx.load(model)
    changed = numpy_helper.to_array(other.graph.initializer[1]) + 1
    other.graph.initializer[1].CopyFrom(numpy_helper.from_array(changed, "b"))
    onnx.save(other, tmp_path / "other.onnx")
    found = sparsec("verify", tmp_path / "other.onnx", "--artifact", artifact)
    assert found.code == 1
    assert "NOT verified" in found.out


def test_benchmark_races_peers_in_one_table(sparsec: Sparsec, model: Path, tmp_path: Path) -> None:
    found = sparsec(
        "benchmark", model, "--threads", 1, "--repeats", 3, "--against", "onnxruntime", "--json", tmp_path / "b.json"
    )
    assert found.code == 0
    facts = json.loads((tmp_path / "b.json").read_text())
    ours, theirs = facts["timings"]
    assert (ours["name"], ours["ratio"]) == ("sparsec", 1.0)
    assert theirs["name"].startswith("ONNX Runtime")
    assert facts["rounds"] == 3


def test_benchmark_json_to_stdout_is_alone_there(sparsec: Sparsec, artifact: Path) -> None:
    found = sparsec("benchmark", artifact, "--threads", 1, "--repeats", 1, "--json", "-")
    assert json.loads(found.out)["threads"] == 1


def test_explain_gives_the_reason_for_each_layer(sparsec: Sparsec, artifact: Path) -> None:
    found = sparsec("explain", artifact, "--candidates")
    assert found.code == 0
    assert "fc1" in found.out
    document = json.loads(sparsec("explain", artifact, "--profile", "--json").out)
    assert (document["precision"], document["storage"]) == ("f32", "fp32")
    assert document["target"].startswith("x86-64-")
    parts = document["parts"]
    layer = next(part for part in parts if part["name"] == "fc1")
    assert layer["layer"]["reason"]
    assert layer["layer"]["density"] == pytest.approx(0.25, abs=0.1)
    assert layer["measured_ns"] > 0


@needs_bf16
def test_every_command_takes_a_precision(sparsec: Sparsec, model: Path, tmp_path: Path) -> None:
    def facts(command: str, *options: object) -> dict[str, Any]:
        found = sparsec(command, model, "--shape", "x=2,24", "--precision", "bf16", *options)
        assert found.code == 0, found
        document: dict[str, Any] = json.loads(found.out)
        return document

    assert facts("compile", "-o", tmp_path / "m.sparsec", "--json")["precision"] == "bf16"
    assert facts("verify", "--json")["precision"] == "bf16"
    assert facts("benchmark", "--repeats", 1, "--threads", 1, "--json", "-")["precision"] == "bf16"
    assert any("precision bf16" in note for note in facts("explain", "--json")["notes"])
    assert any("precision bf16" in note for note in facts("explain", "--what-if", "0.9", "--json")["notes"])
    means = [
        facts("run", "--random", "--json", "--precision", each)["outputs"]["y"]["mean"] for each in ("f32", "bf16")
    ]
    assert means[0] != means[1]
    assert means[0] == pytest.approx(means[1], rel=1e-2)
    layers = facts("tune", "--budget", "10s", "--log", tmp_path / "t.db", "--json")["layers"]
    assert [layer["choice"][:5] for layer in layers] == ["bf16_"]


def test_targets_says_what_runs_here(sparsec: Sparsec) -> None:
    assert "runs here" in sparsec("targets").out
    facts = json.loads(sparsec("targets", "--json").out)
    assert {"x86-64-v3", "x86-64-v4"} <= {each["name"] for each in facts["targets"]}


def test_opt_runs_passes_on_text(sparsec: Sparsec, tmp_path: Path) -> None:
    source = tmp_path / "in.mlir"
    source.write_text("func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> { return %x : tensor<4xf32> }\n")
    found = sparsec("opt", source, "--passes", "form_layers", "--pipeline", "canonicalize")
    assert found.code == 0
    assert "func.func @main" in found.out
    assert sparsec("opt", "--list").out.count("\n") > 10


def test_every_stage_of_a_compilation_can_be_dumped_and_read_back(
    sparsec: Sparsec, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSEC_DUMP", str(tmp_path / "dump"))
    assert sparsec("compile", model, "-o", tmp_path / "m.sparsec").code == 0
    dumped = sorted((tmp_path / "dump").iterdir())
    assert dumped[0].name == "00-import.mlir"
    for file in dumped:
        assert sparsec("opt", file).code == 0


@pytest.mark.parametrize("arguments", [["opt", "--list"], ["targets", "--json"], ["--help"]])
def test_a_closed_pipe_is_no_error(arguments: list[str]) -> None:
    command = f"from sparsec.cli import main; main({arguments})"
    read, write = os.pipe()
    os.close(read)
    found = subprocess.run(
        [sys.executable, "-c", command], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert found.stderr == ""
    assert found.returncode == 141


def test_an_exported_torch_program_is_verified_against_torch(sparsec: Sparsec, tmp_path: Path) -> None:
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU()).eval()
    torch.export.save(torch.export.export(net, (torch.rand(2, 8),)), tmp_path / "net.pt2")
    found = sparsec("verify", tmp_path / "net.pt2")
    assert found.code == 0, found
    assert "verified against torch" in found.out


def test_the_debug_ladder(sparsec: Sparsec, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {}
    for level in range(4):
        monkeypatch.setenv("SPARSEC_DEBUG", str(level))
        shown[level] = sparsec("compile", model, "-o", tmp_path / "m.sparsec").err
    assert "candidates" not in shown[0]
    assert "candidates" in shown[1]
    assert "after form_layers" not in shown[1]
    assert "after form_layers" in shown[2]
    assert ".globl" not in shown[2]
    assert ".globl" in shown[3]
