"""Every bad input ends with exit code 2, one sentence, no traceback, and no file."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.command_line import Finished, Sparsec


def assert_refused(found: Finished, *words: str) -> None:
    """Exit code 2, nothing on stdout, and a message with all `words` on stderr."""
    assert found.code == 2, found
    assert found.out == ""
    assert "Traceback" not in found.err
    for word in words:
        assert word in found.err


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A path in a folder of its own, which must stay empty."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "m.sparsec"


@pytest.fixture(params=["compile", "run", "verify", "benchmark", "explain"])
def reading_command(request: pytest.FixtureRequest) -> str:
    """Each command that reads a model."""
    return str(request.param)


def test_missing_file(sparsec: Sparsec, reading_command: str) -> None:
    assert_refused(sparsec(reading_command, "nowhere.onnx"), "No such file", "nowhere.onnx")


def test_folder(sparsec: Sparsec, reading_command: str, tmp_path: Path) -> None:
    assert_refused(sparsec(reading_command, tmp_path), "directory", str(tmp_path))


def test_garbage(sparsec: Sparsec, reading_command: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(os.urandom(1000))
    assert_refused(sparsec(reading_command, tmp_path / "model.onnx"), "not an ONNX model")


def test_empty(sparsec: Sparsec, reading_command: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    assert_refused(sparsec(reading_command, tmp_path / "model.onnx"), "empty")


def test_truncated_model(sparsec: Sparsec, model: Path, output: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(model.read_bytes()[:-300])
    assert_refused(sparsec("compile", tmp_path / "cut.onnx", "-o", output), "ONNX")
    assert list(output.parent.iterdir()) == []


def test_damaged_gzip(sparsec: Sparsec, tmp_path: Path) -> None:
    (tmp_path / "m.onnx.gz").write_bytes(b"\x1f\x8b" + bytes(50))
    assert_refused(sparsec("explain", tmp_path / "m.onnx.gz"), "gzip")


def test_damaged_program_of_torch(sparsec: Sparsec, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"PK\x03\x04")
    assert_refused(sparsec("explain", tmp_path / "m.pt2"), "torch.export.save")


@pytest.mark.parametrize("offset", ["-5", "five", str(2**70)])
def test_external_data_at_no_place(sparsec: Sparsec, model: Path, tmp_path: Path, offset: str) -> None:
    import onnx

    onnx.save(onnx.load(model), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    changed = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    next(entry for entry in changed.graph.initializer[0].external_data if entry.key == "offset").value = offset
    onnx.save(changed, tmp_path / "m.onnx")
    assert_refused(sparsec("explain", tmp_path / "m.onnx"), "A constant cannot be read", "tensor 'w'")


def test_a_model_that_the_reference_cannot_run(sparsec: Sparsec, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr("onnxruntime.InferenceSession.run", fails)
    assert_refused(sparsec("verify", model), "ONNX Runtime cannot run the model", "no room")


@pytest.mark.parametrize("keep", [3, 100, 5000, -1])
def test_truncated_artifact(sparsec: Sparsec, artifact: Path, tmp_path: Path, keep: int) -> None:
    (tmp_path / "cut.sparsec").write_bytes(artifact.read_bytes()[:keep])
    assert_refused(sparsec("run", tmp_path / "cut.sparsec", "--random"), "artifact")


def test_artifact_where_a_model_is_wanted(sparsec: Sparsec, artifact: Path, output: Path) -> None:
    assert_refused(sparsec("compile", artifact, "-o", output), "artifact")
    assert_refused(sparsec("verify", artifact), "against its model", "--artifact")


def test_options_that_an_artifact_cannot_follow(sparsec: Sparsec, model: Path, artifact: Path) -> None:
    assert_refused(sparsec("run", artifact, "--shape", "x=1,24"), "compiled for no such shape", "x[2, 24]")
    assert_refused(sparsec("run", artifact, "--target", "x86-64-v3"), "compiled already")
    for command in ("run", "explain", "benchmark"):
        assert_refused(sparsec(command, artifact, "--precision", "bf16"), "compiled already", "--precision")
    assert_refused(sparsec("verify", model, "--artifact", artifact, "--precision", "bf16"), "compiled already")


def test_output_in_a_folder_that_is_not_there(sparsec: Sparsec, model: Path, tmp_path: Path) -> None:
    assert_refused(sparsec("compile", model, "-o", tmp_path / "no" / "m.sparsec"), "cannot be written", "no folder")


def test_output_that_is_a_folder(sparsec: Sparsec, model: Path, tmp_path: Path) -> None:
    assert_refused(sparsec("compile", model, "-o", tmp_path), "cannot be written", "is a folder")
    assert_refused(sparsec("run", model, "--random", "-o", tmp_path), "cannot be written", "is a folder")


def test_output_to_a_pipe_is_for_text(sparsec: Sparsec, model: Path, artifact: Path) -> None:
    assert_refused(sparsec("compile", model, "-o", "-"), "cannot be written", "standard output")
    assert_refused(sparsec("run", artifact, "--random", "-o", "-"), "cannot be written", "standard output")
    found = sparsec("compile", model, "--emit", "mlir", "-o", "-")
    assert found.code == 0
    assert "func.func" in found.out


def test_a_page_is_of_one_picture(sparsec: Sparsec, model: Path, tmp_path: Path) -> None:
    found = sparsec("demo-web", model, "-o", tmp_path / "page")
    assert_refused(found, "networks of one picture", "float32[1, 3, H, W]", "x: float32[2, 24]", "--emit wasm")
    assert not (tmp_path / "page").exists()


def test_a_port_that_is_taken(sparsec: Sparsec, model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert_refused(sparsec("demo-web", model, "--port", port), f"port {port}", "in use", "--port 0")


def test_a_model_is_not_overwritten(sparsec: Sparsec, model: Path) -> None:
    before = model.read_bytes()
    for emit in ("artifact", "mlir"):
        assert_refused(sparsec("compile", model, "--emit", emit, "-o", model), "cannot be written", "the model itself")
    assert model.read_bytes() == before


def test_what_is_for_another_machine_is_not_tuned_here(sparsec: Sparsec, model: Path, tmp_path: Path) -> None:
    for emit in ("wasm", "static"):
        options = "--target", "wasm32", "--tune", "1s", "-o", tmp_path / emit
        assert_refused(sparsec("compile", model, "--emit", emit, *options), "another processor", "wasm32")
    assert not list(tmp_path.iterdir())


def test_a_model_is_read_more_than_once(sparsec: Sparsec, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert_refused(sparsec("explain", tmp_path / "pipe"), "cannot be read", "pipe", "expected: a file")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_seconds_that_are_no_time(sparsec: Sparsec, model: Path, seconds: str) -> None:
    assert_refused(sparsec("benchmark", model, "--seconds", seconds), "--seconds", "above 0", f"got: {seconds}")


@pytest.mark.parametrize("size", [2**40, 10**30])
def test_a_shape_beyond_all_memory(sparsec: Sparsec, dynamic_model: Path, output: Path, size: int) -> None:
    assert_refused(sparsec("compile", dynamic_model, "-o", output, "--shape", f"x={size},24"), "No tensor", str(size))


def test_too_little_memory_is_no_bug(sparsec: Sparsec, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsec.cli.models.random_feeds", lambda *_: np.empty(2**60, np.uint8))
    assert_refused(sparsec("run", artifact, "--random"), "not enough memory", "Unable to allocate")


@pytest.mark.parametrize("text", ["x", "x=", "=1,2", "x=1,a", "x=-1,24", "x=1.5"])
def test_malformed_shape(sparsec: Sparsec, model: Path, output: Path, text: str) -> None:
    found = sparsec("compile", model, "-o", output, "--shape", text)
    if text == "x=":  # the shape of a scalar
        assert_refused(found, "x")
    else:
        assert_refused(found, "--shape", text)
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("compile", "--shape", "y=1,2"), ("one of each input", "2 of x, 1 of y")),
        (("compile", "--shape", "x=1,24"), ("given twice", "x[1, 24]")),
        (("compile", "--emit", "static"), ("--emit static is for one set of shapes", "2 sets")),
        (("compile", "--emit", "shared"), ("--emit shared is for one set of shapes", "2 sets")),
        (("compile", "--emit", "wasm"), ("--emit wasm is for one set of shapes", "2 sets")),
        (("compile", "--emit", "mlir"), ("--emit mlir is for one set of shapes", "2 sets")),
        (("run", "--random"), ("This command is for one set of shapes", "2 sets")),
        (("verify",), ("This command is for one set of shapes", "2 sets")),
        (("tune",), ("This command is for one set of shapes", "2 sets")),
    ],
)
def test_sets_of_shapes_that_a_command_cannot_take(
    sparsec: Sparsec,
    dynamic_model: Path,
    tmp_path: Path,
    command: tuple[str, ...],
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *options = command
    assert_refused(sparsec(name, dynamic_model, "--shape", "x=1,24", "--shape", "x=2,24", *options), *words)
    assert not list(tmp_path.iterdir())


def test_shape_of_an_unknown_input(sparsec: Sparsec, model: Path, output: Path) -> None:
    assert_refused(sparsec("compile", model, "-o", output, "--shape", "nothing=1,2"), "nothing")


def test_unknown_target(sparsec: Sparsec, model: Path, output: Path) -> None:
    assert_refused(sparsec("compile", model, "-o", output, "--target", "z80"), "z80", "x86-64-v3")
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        *(("compile",), ("compile", "--emit", "mlir"), ("compile", "--tune", "1s"), ("run", "--random"), ("verify",)),
        *(("benchmark",), ("explain",), ("explain", "--what-if", "0.9"), ("tune", "--budget", "1s", "--log", "t.db")),
    ],
)
def test_precisions_that_there_are_not(
    sparsec: Sparsec, model: Path, tmp_path: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *options = command
    assert_refused(sparsec(name, model, *options, "--precision", "fp4"), "'fp4' is not one of 'f32', 'bf16'")
    found = sparsec(name, model, *options, "--precision", "bf16", "--target", "x86-64-v3")
    assert_refused(found, "no instruction that multiplies in bf16", "x86-64-v4-bf16", "another --target")
    assert not list(tmp_path.glob("tiny*"))


def test_unknown_input(sparsec: Sparsec, artifact: Path) -> None:
    assert_refused(sparsec("run", artifact, "--input", "nothing=random"), "no such input", "x: float32[2, 24]")


def test_missing_input_says_what_to_type(sparsec: Sparsec, artifact: Path) -> None:
    assert_refused(sparsec("run", artifact), "not given", "--input x=random")


@pytest.mark.parametrize("text", ["x", "=random", "x="])
def test_malformed_input(sparsec: Sparsec, artifact: Path, text: str) -> None:
    assert_refused(sparsec("run", artifact, "--input", text), "--input", "NAME=")


@pytest.mark.parametrize("array", [np.zeros((3, 24), np.float32), np.zeros((2, 24))])
def test_input_of_the_wrong_shape_or_dtype(
    sparsec: Sparsec, artifact: Path, tmp_path: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
) -> None:
    np.save(tmp_path / "x.npy", array)
    found = sparsec("run", artifact, "--input", f"x={tmp_path / 'x.npy'}", "-o", tmp_path / "out.npz")
    assert_refused(found, "x: float32[2, 24]", str(array.dtype))
    assert not (tmp_path / "out.npz").exists()


def test_input_file_that_is_missing_or_no_array(sparsec: Sparsec, artifact: Path, tmp_path: Path) -> None:
    assert_refused(sparsec("run", artifact, "--input", f"x={tmp_path / 'x.npy'}"), "No such file")
    (tmp_path / "x.npy").write_text("no array")
    assert_refused(sparsec("run", artifact, "--input", f"x={tmp_path / 'x.npy'}"), "not a NumPy array file")


def test_unknown_engine(sparsec: Sparsec, model: Path) -> None:
    assert_refused(sparsec("benchmark", model, "--against", "magic"), "magic", "onnxruntime")


def test_unknown_command_option_and_level(sparsec: Sparsec, model: Path) -> None:
    assert_refused(sparsec("fly"), "fly")
    assert_refused(sparsec("run", model, "--fast"), "--fast")
    assert_refused(sparsec("compile", model, "--emit", "poetry"), "poetry")


def test_opt_without_module_pass_or_weights(sparsec: Sparsec, tmp_path: Path) -> None:
    source = tmp_path / "in.mlir"
    assert_refused(sparsec("opt"), "IN.mlir")
    assert_refused(sparsec("opt", source), "No such file")
    source.write_text("this is no MLIR")
    assert_refused(sparsec("opt", source), "does not parse")
    source.write_text('%0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<4xf32>')
    assert_refused(sparsec("opt", source, "--passes", "form_layers"), "weights", "w")
    assert_refused(sparsec("opt", source, "--passes", "magic"), "magic", "form_layers")
    assert_refused(sparsec("opt", source, "--pipeline", "no-such-pass"), "no-such-pass")


def test_unsupported_operator_names_the_node(sparsec: Sparsec, output: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Magic", ["x"], ["y"], name="trick", domain="circus")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("circus", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    assert_refused(sparsec("compile", tmp_path / "m.onnx", "-o", output), "trick", "Magic")
    assert list(output.parent.iterdir()) == []


def test_a_bug_is_told_in_a_sentence(sparsec: Sparsec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsec.cli.targets.cpu_features", lambda: 1 / 0)
    found = sparsec("targets")
    assert found.code == 70
    assert "ZeroDivisionError" in found.err
    assert "Traceback" not in found.err
    assert "SPARSEC_DEBUG=1" in found.err
    monkeypatch.setenv("SPARSEC_DEBUG", "1")
    assert "Traceback" in sparsec("targets").err


def test_standard_streams_may_be_closed() -> None:
    command = [sys.executable, "-c", "from sparsec.cli import main; main(['opt', '--list'])"]
    found = subprocess.run(["sh", "-c", '"$@" <&- >&-', "sh", *command], stderr=subprocess.PIPE, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize("missing", ["click", "rich", "torch_mlir", "llvmlite"])
def test_packages_that_are_not_installed_are_named(model: Path, missing: str) -> None:
    script = (
        f"import sys; sys.modules[{missing!r}] = None; from sparsec.cli import main; main(['explain', {str(model)!r}])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert_refused(Finished(found.returncode, found.stdout, found.stderr), missing, "pip install sparsec")


def test_interrupt_while_the_command_line_is_loaded(sparsec: Sparsec, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sparsec.cli.group.run", interrupted)
    assert sparsec("targets") == Finished(130, "", "interrupted\n")


def test_interrupt_leaves_nothing(sparsec: Sparsec, model: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)  # the last thing before the file gets its name
    found = sparsec("compile", model, "-o", output)
    assert found.code == 130
    assert list(output.parent.iterdir()) == []


def test_unknown_debug_level(sparsec: Sparsec, model: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEC_DEBUG", "loud")
    assert_refused(sparsec("compile", model, "-o", output), "SPARSEC_DEBUG", "loud")
