"""Networks as libraries for C, used by programs on this machine."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

import sparsec
from sparsec.artifact import Complaint
from sparsec.c_library.header import Linkage
from sparsec.c_library.library import write_library
from sparsec.c_library.names import identifier, network_name
from sparsec.driver import compile_objects
from sparsec.errors import TargetError, ToolchainError
from sparsec.options import Options
from sparsec.targets import TARGETS, c_compiler, resolve
from sparsec.targets.c_compiler import CCompiler
from tests.c_programs import build, compile_program, program_text, run
from tests.rounded_models import pruned_layers
from tests.tune.models import two_layers, two_quantised_layers

COMPILER = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), "")
needs_compiler = pytest.mark.skipif(not COMPILER, reason="there is no C compiler here: apt-get install gcc")
F32 = NDArray[np.float32]


def feeds() -> dict[str, F32]:
    return {"x": np.random.default_rng(0).standard_normal((32, 24)).astype(np.float32)}


def expected(model: onnx.ModelProto) -> F32:
    (y,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds())
    return np.asarray(y, np.float32)


@needs_compiler
@pytest.mark.parametrize("linkage", Linkage)
@pytest.mark.parametrize("weights_inside", [True, False])
def test_a_program_gets_what_onnx_runtime_gives(linkage: Linkage, weights_inside: bool, tmp_path: Path) -> None:
    plan = build(two_layers(), tmp_path, linkage=linkage, weights_inside=weights_inside)
    text = program_text(plan, weights_inside=weights_inside)
    program = compile_program(text, tmp_path, ["two"], [COMPILER], [f"-Wl,-rpath,{tmp_path}"])
    code, said, outputs = run([str(program)], plan, feeds(), tmp_path, str(tmp_path / "two.weights"))
    assert (code, said) == (0, "")
    np.testing.assert_allclose(outputs["y"], expected(two_layers()), rtol=1e-5, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("weights_inside", [True, False])
def test_weights_stored_as_float16_are_widened(weights_inside: bool, tmp_path: Path) -> None:
    plan = build(pruned_layers(), tmp_path, linkage=Linkage.STATIC, weights_inside=weights_inside, storage="fp16")
    assert any(piece.half for piece in plan.pieces)
    program = compile_program(program_text(plan, weights_inside=weights_inside), tmp_path, ["pruned"], [COMPILER])
    code, said, outputs = run([str(program)], plan, feeds(), tmp_path, str(tmp_path / "pruned.weights"))
    assert (code, said) == (0, "")
    model = sparsec.compile(pruned_layers(), use_measurements=False, storage="fp16")
    np.testing.assert_array_equal(outputs["y"], model.run(feeds())["y"])


@needs_compiler
@pytest.mark.parametrize("change", ["cut", "bit", "none"])
def test_other_weights_are_refused(change: str, tmp_path: Path) -> None:
    plan = build(two_layers(), tmp_path, linkage=Linkage.STATIC, weights_inside=False)
    program = compile_program(program_text(plan, weights_inside=False), tmp_path, ["two"], [COMPILER])
    weights = bytearray((tmp_path / "two.weights").read_bytes())
    weights[len(weights) // 2] ^= 1
    path = tmp_path / "other.weights"
    if change != "none":
        path.write_bytes(weights if change == "bit" else weights[:-1])
    code, said, _ = run([str(program)], plan, feeds(), tmp_path, str(path))
    assert code == 3
    assert "belongs to another network" in said


@needs_compiler
def test_a_shared_library_shows_its_four_functions_only(tmp_path: Path) -> None:
    build(two_layers(), tmp_path, linkage=Linkage.SHARED)
    listed = subprocess.run(["nm", "-D", "--defined-only", tmp_path / "libtwo.so"], capture_output=True, check=True)
    names = {line.split()[-1] for line in listed.stdout.decode().splitlines()}
    assert names == {"two_open", "two_run", "two_message", "two_close"}


@needs_compiler
def test_two_networks_in_one_program(tmp_path: Path) -> None:
    plan = build(two_layers(), tmp_path, linkage=Linkage.STATIC)
    build(two_quantised_layers(), tmp_path, linkage=Linkage.STATIC)
    other = '#include "two_quantised.h"\n__attribute__((used)) static int (*kept)(two_quantised **, int) = two_quantised_open;\n'
    program = compile_program(other + program_text(plan), tmp_path, ["two", "two_quantised"], [COMPILER])
    code, _, outputs = run([str(program)], plan, feeds(), tmp_path)
    assert code == 0
    np.testing.assert_allclose(outputs["y"], expected(two_layers()), rtol=1e-5, atol=1e-5)


@needs_compiler
def test_a_value_that_the_network_cannot_take_has_a_message(tmp_path: Path) -> None:
    node = helper.make_node("Gather", ["x", "i"], ["y"], name="the node")
    described = [("x", TensorProto.FLOAT, [5, 6]), ("i", TensorProto.INT64, [3]), ("y", TensorProto.FLOAT, [3, 6])]
    *given, wanted = [helper.make_tensor_value_info(*each) for each in described]
    graph = helper.make_graph([node], "a graph", given, [wanted])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    plan = build(model, tmp_path, linkage=Linkage.STATIC)
    program = compile_program(program_text(plan), tmp_path, [network_name(plan.name)], [COMPILER])
    x = np.arange(30, dtype=np.float32).reshape(5, 6)
    code, said, _ = run([str(program)], plan, {"x": x, "i": np.array([0, 7, 1])}, tmp_path)
    assert code >= 4
    assert "out of range" in said
    assert "the node" in said
    code, _, outputs = run([str(program)], plan, {"x": x, "i": np.array([0, 4, 1])}, tmp_path)
    assert code == 0
    np.testing.assert_array_equal(outputs["y"], x[[0, 4, 1]])


def test_without_a_compiler_one_sentence_says_what_brings_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_compiler.shutil, "which", lambda _: None)
    monkeypatch.setattr(c_compiler, "_zig", lambda: None)
    with pytest.raises(ToolchainError, match=r"no C compiler and linker for aarch64(.|\n)*pip install ziglang"):
        CCompiler.find(TARGETS["aarch64"])


def test_the_package_ziglang_is_used_where_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_compiler.shutil, "which", lambda _: None)
    monkeypatch.setattr(c_compiler, "_zig", lambda: "zig")
    assert CCompiler.find(TARGETS["aarch64"]).compiler == ("zig", "cc", "-target", "aarch64-linux-gnu")


def test_webassembly_is_no_library() -> None:
    with pytest.raises(TargetError, match="no library for C"):
        build(two_layers(), Path("unused"), target="wasm32", linkage=Linkage.STATIC)


@needs_compiler
@pytest.mark.parametrize("name", ["exp", "half", "math", "sparsec_model", "core", "linux", "a/*b*/\n"])
def test_a_network_may_have_any_name(name: str, tmp_path: Path) -> None:
    model = two_layers()
    model.graph.name = name
    plan = build(model, tmp_path, linkage=Linkage.STATIC)
    headers = "".join(f"#include <{each}.h>\n" for each in ("fcntl", "math", "stdlib", "string", "time", "unistd"))
    program = compile_program(headers + program_text(plan), tmp_path, [network_name(name)], [COMPILER])
    code, said, outputs = run([str(program)], plan, feeds(), tmp_path)
    assert (code, said) == (0, "")
    np.testing.assert_allclose(outputs["y"], expected(two_layers()), rtol=1e-5, atol=1e-5)


@needs_compiler
def test_files_in_the_folder_have_no_part_in_the_library(tmp_path: Path) -> None:
    for name in ("math.h", "pool.h", "two.h"):
        (tmp_path / name).write_text("#error not this one\n")
    build(two_layers(), tmp_path, linkage=Linkage.SHARED)
    assert "two_open" in (tmp_path / "two.h").read_text()


@needs_compiler
def test_messages_may_have_any_letters(tmp_path: Path) -> None:
    plan, objects = compile_objects(two_layers().SerializeToString(), Options("native", use_measurements=False))
    said = 'größer "0" \\ \x1b ??/ 🙂'
    odd = replace(plan, complaints=(Complaint("here", said),))
    write_library(tmp_path, odd, objects, resolve("native"), Linkage.STATIC, weights_inside=True)
    text = '#include "two.h"\n#include <stdio.h>\nint main(void) { return !printf("%s", two_message(4)); }\n'
    program = compile_program(text, tmp_path, ["two"], [COMPILER])
    shown = subprocess.run([str(program)], capture_output=True, check=True).stdout.decode()
    assert shown == f"A check failed: {said} (here)."


@pytest.mark.parametrize(
    ("name", "word"), [("a b-c", "a_b_c"), ("1x", "_1x"), ("int", "int_"), ("größe", "gr_e"), ("", "tensor")]
)
def test_names_become_words_of_c(name: str, word: str) -> None:
    assert identifier(name) == word
