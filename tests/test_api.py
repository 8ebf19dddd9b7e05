"""`import sparsec` and what it offers."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import sparsec
from sparsec import artifact
from sparsec.errors import UsageError


def two_outputs() -> onnx.ModelProto:
    """total = a + b, difference = a - b on float32[3]; the names of the inputs are `a` and `second.b`."""
    nodes = [
        helper.make_node("Add", ["a", "second.b"], ["total"]),
        helper.make_node("Sub", ["a", "second.b"], ["difference"]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in ("a", "second.b")]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in ("total", "difference")]
    graph = helper.make_graph(nodes, "two", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def model() -> sparsec.CompiledModel:
    """Two inputs, two outputs."""
    return sparsec.compile(two_outputs(), threads=1)


A, B = np.array([1, 2, 3], np.float32), np.array([10, 20, 30], np.float32)


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after `statement`."""
    code = f"{statement}\nimport sys\nprint(*(name for name in sys.modules if '.' not in name))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


HEAVY = {"torch_mlir", "llvmlite", "onnx", "torch", "onnxruntime"}


def test_import_loads_nothing_heavy() -> None:
    assert not loaded_by("import sparsec") & (HEAVY | {"numpy", "click", "rich"})


def test_running_an_artifact_needs_numpy_only(model: sparsec.CompiledModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m.sparsec")
    statement = f"""
import sparsec, numpy
y = sparsec.load({str(tmp_path / "m.sparsec")!r})(numpy.ones(3, numpy.float32), numpy.ones(3, numpy.float32))
assert y[0].sum() == 6, y
"""
    assert not loaded_by(statement) & (HEAVY | {"click", "rich"})


def test_every_public_name_is_there() -> None:
    for name in sparsec.__all__:
        assert getattr(sparsec, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = sparsec.nothing


def test_call_in_order_and_by_name(model: sparsec.CompiledModel) -> None:
    for outputs in (model(A, B), model(A, **{"second.b": B}), model(**{"second.b": B, "a": A})):
        total, difference = outputs
        np.testing.assert_array_equal(total, A + B)
        np.testing.assert_array_equal(difference, A - B)


def test_a_single_output_is_not_wrapped() -> None:
    source = two_outputs()
    del source.graph.output[1]
    np.testing.assert_array_equal(sparsec.compile(source, threads=1)(A, B), A + B)


def test_torch_tensors_in_give_torch_tensors_out(model: sparsec.CompiledModel) -> None:
    total, _ = model(torch.from_numpy(A), B)
    assert isinstance(total, torch.Tensor)
    assert torch.equal(total, torch.from_numpy(A + B))


def test_run_gives_outputs_by_name(model: sparsec.CompiledModel) -> None:
    found = model.run({"a": A, "second.b": B})
    assert list(found) == ["total", "difference"]
    out = {name: np.empty(3, np.float32) for name in found}
    assert model.run({"a": A, "second.b": B}, out=out)["total"] is out["total"]


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((A,), {}), ((A, B, B), {}), ((A, B), {"a": A}), ((A,), {"b": B}), ((A, B[:2]), {}), ((A, "b"), {})],
)
def test_wrong_inputs_are_refused(
    model: sparsec.CompiledModel, args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    with pytest.raises(sparsec.InputError, match="expected"):
        model(*args, **kwargs)


def test_save_and_load_keep_everything(model: sparsec.CompiledModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m.sparsec")
    loaded = sparsec.load(tmp_path / "m.sparsec")
    assert (loaded.inputs, loaded.outputs, loaded.report) == (model.inputs, model.outputs, model.report)
    np.testing.assert_array_equal(loaded(A, B)[0], A + B)


def test_a_model_for_another_processor_can_be_saved_and_asked_but_not_called(tmp_path: Path) -> None:
    model = sparsec.compile(two_outputs(), target="aarch64-dotprod")
    assert model.summary.target == "aarch64-dotprod"
    assert model.summary.code_bytes > 0
    assert (len(model.calls), model.threads) == (2, None)
    assert model.inputs == sparsec.compile(two_outputs()).inputs
    model.save(tmp_path / "arm.sparsec")
    assert artifact.read(tmp_path / "arm.sparsec").target.triple.startswith("aarch64")
    for use in (lambda: model(A, B), lambda: model.session, lambda: sparsec.load(tmp_path / "arm.sparsec")):
        with pytest.raises(sparsec.ArtifactError, match=r"for another processor(.|\n)*aarch64-dotprod"):
            use()


def test_failing_to_save_leaves_no_file(model: sparsec.CompiledModel, tmp_path: Path) -> None:
    with pytest.raises(sparsec.ArtifactError, match="No such file"):
        model.save(tmp_path / "missing" / "m.sparsec")
    assert list(tmp_path.iterdir()) == []


def test_report_says_why() -> None:
    net = torch.nn.Linear(32, 16)
    with torch.no_grad():
        net.weight[net.weight.abs() < 0.15] = 0
    compiled = sparsec.compile(net, torch.zeros(4, 32), threads=1)
    (layer,) = compiled.report.layers
    assert layer.op == "linear"
    assert 0.05 < (layer.density or 0) < 0.5
    assert layer.reason
    assert any(candidate.kernel == layer.choice for candidate in layer.candidates)
    x = torch.rand(4, 32)
    torch.testing.assert_close(compiled(x), net(x).detach(), rtol=1e-5, atol=1e-5)


def test_exported_programs_in_memory_and_on_disk(tmp_path: Path) -> None:
    net, x = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU()).eval(), torch.rand(2, 8)
    program = torch.export.export(net, (x,))
    torch.export.save(program, tmp_path / "net.pt2")
    for source in (program, tmp_path / "net.pt2"):
        torch.testing.assert_close(sparsec.compile(source, threads=1)(x), net(x).detach())


def test_progress_is_told_every_stage() -> None:
    stages: list[tuple[str, int, int]] = []
    sparsec.compile(two_outputs(), progress=lambda *stage: stages.append(stage))
    assert stages[0][0] == "import"
    assert [number for _, number, _ in stages] == list(range(stages[0][2]))


def test_one_model_in_many_threads(model: sparsec.CompiledModel) -> None:
    wrong: list[int] = []

    def work(seed: int) -> None:
        a = np.random.default_rng(seed).random(3, np.float32)
        for _ in range(50):
            if not np.array_equal(model(a, B)[0], a + B):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_inference_session_has_the_interface_of_onnx_runtime(model: sparsec.CompiledModel, tmp_path: Path) -> None:
    onnx.save(two_outputs(), tmp_path / "m.onnx")
    model.save(tmp_path / "m.sparsec")
    for source in (tmp_path / "m.onnx", str(tmp_path / "m.sparsec"), two_outputs(), model):
        session = sparsec.InferenceSession(source)
        first, second = session.get_inputs()
        assert (first.name, first.shape, first.type) == ("a", [3], "tensor(float)")
        assert [each.name for each in session.get_outputs()] == ["total", "difference"]
        total, difference = session.run(None, {first.name: A, second.name: B})
        np.testing.assert_array_equal(total, A + B)
        np.testing.assert_array_equal(session.run(["difference"], {"a": A, "second.b": B})[0], difference)
    with pytest.raises(sparsec.InputError, match="nothing"):
        session.run(["nothing"], {"a": A, "second.b": B})
    for compiled in (tmp_path / "m.sparsec", model):
        with pytest.raises(sparsec.UsageError, match="compiled already"):
            sparsec.InferenceSession(compiled, precision="bf16")


def test_a_runtime_without_the_compiler_says_so() -> None:
    script = """
import sys; sys.modules["torch_mlir"] = None
import sparsec
try:
    sparsec.compile(b"")
except sparsec.UsageError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "runs models only" in said
    assert "torch_mlir" in said


@pytest.mark.parametrize("source", [None, 5, [], np.zeros(3)])
def test_what_is_no_model_is_refused(source: object) -> None:
    with pytest.raises(UsageError, match=r"not a model(.|\n)*torch module"):
        sparsec.compile(source)  # type: ignore[arg-type]


def test_example_inputs_are_for_torch_modules() -> None:
    with pytest.raises(UsageError, match="Example inputs are for torch modules"):
        sparsec.compile(b"", (np.zeros(3, np.float32),))


def test_an_artifact_is_not_compiled(model: sparsec.CompiledModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m.sparsec")
    with pytest.raises(sparsec.ModelError, match=r"sparsec\.load"):
        sparsec.compile(tmp_path / "m.sparsec")
