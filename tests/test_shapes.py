"""One model for several shapes: compiled, saved, loaded, called; on processors, and as far as there is no GPU, on GPUs."""

from __future__ import annotations

import json
import threading
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import sparsec
from sparsec.artifact.file import FORMAT_VERSION, SEVERAL_SHAPES
from sparsec.errors import ArtifactError, InputError, UsageError

Floats = NDArray[np.float32]
HIDDEN, OUT = 96, 40
SETS = [{"x": (rows, HIDDEN), "scale": (rows, 1)} for rows in (8, 1, 33)]
SCALE = np.float32(0.125)


def weights() -> tuple[Floats, Floats]:
    """A matrix with three of four elements zero, and one without zeros."""
    random = np.random.default_rng(0)
    first = random.standard_normal((HIDDEN, HIDDEN)).astype(np.float32) * SCALE
    first[random.random(first.shape) < 0.75] = 0
    return first, random.standard_normal((HIDDEN, OUT)).astype(np.float32) * SCALE


def network() -> onnx.ModelProto:
    """y = relu(x @ first) @ second * scale, for any number of rows."""
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"], name="fc1"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("MatMul", ["b", "second"], ["c"], name="fc2"),
        helper.make_node("Mul", ["c", "scale"], ["y"], name="mul"),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", columns])
        for name, columns in (("x", HIDDEN), ("scale", 1))
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", OUT])]
    arrays = [numpy_helper.from_array(each, name) for each, name in zip(weights(), ("first", "second"), strict=True)]
    graph = helper.make_graph(nodes, "rows", inputs, outputs, arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def feeds(rows: int, seed: int = 0) -> dict[str, Floats]:
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes_of(rows).items()}


def shapes_of(rows: int) -> dict[str, tuple[int, int]]:
    return {"x": (rows, HIDDEN), "scale": (rows, 1)}


def expected(given: dict[str, Floats]) -> NDArray[np.float64]:
    first, second = (each.astype(np.float64) for each in weights())
    result = np.maximum(given["x"].astype(np.float64) @ first, 0) @ second * given["scale"]
    return np.asarray(result)


def check(model: sparsec.CompiledModel, rows: int, tolerance: float = 1e-5, seed: int = 0) -> None:
    given = feeds(rows, seed)
    found = model.run(given)["y"]
    np.testing.assert_allclose(found, expected(given), atol=tolerance, rtol=tolerance)


@pytest.fixture(scope="module")
def model() -> sparsec.CompiledModel:
    return sparsec.compile(network(), shapes=SETS, threads=2, use_measurements=False)


@pytest.fixture(scope="module")
def loaded(model: sparsec.CompiledModel, tmp_path_factory: pytest.TempPathFactory) -> sparsec.CompiledModel:
    path = tmp_path_factory.mktemp("shapes") / "rows.sparsec"
    model.save(path)
    return sparsec.load(path, threads=2)


@pytest.mark.parametrize("which", ["model", "loaded"])
def test_it_runs_what_it_is_called_with(which: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(which)
    for seed, rows in enumerate((33, 1, 8, 33, 8, 1)):
        check(model, rows, seed=seed)
        given = feeds(rows, seed)
        np.testing.assert_array_equal(model(given["x"], scale=given["scale"]), model.run(given)["y"])
        tensors = [torch.from_numpy(given[name]) for name in ("x", "scale")]
        np.testing.assert_array_equal(model(*tensors).numpy(), model.run(given)["y"])
        bound = model.bind(given)
        np.testing.assert_array_equal(bound()["y"], model.run(given)["y"])  # type: ignore[index]
        assert model.profile(given, 2).shape == (2, len(model.at({"x": (rows, HIDDEN)}).calls))


@pytest.mark.parametrize("which", ["model", "loaded"])
def test_each_shape_tells_of_itself(which: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(which)
    assert model.shapes == tuple(SETS)
    assert [spec.shape for spec in model.inputs] == [(8, HIDDEN), (8, 1)]
    for each in SETS:
        told = model.at(each)
        assert {spec.name: spec.shape for spec in told.inputs} == each
        assert told.outputs[0].shape == (each["x"][0], OUT)
        assert [layer.name for layer in told.report.layers]
        assert str(each["x"][0]) in repr(told)
        check(told, 8)  # a call is for all shapes
    assert model.at({"scale": (33, 1)}).outputs[0].shape == (33, OUT)


def test_other_shapes_than_there_are_name_those(model: sparsec.CompiledModel) -> None:
    every = r"x\[8, 96\], scale\[8, 1\] or x\[1, 96\], scale\[1, 1\] or x\[33, 96\], scale\[33, 1\]"
    with pytest.raises(InputError, match=rf"not compiled for these shapes(.|\n)*{every}(.|\n)*x\[2, 96\]"):
        model.run(feeds(2))
    mixed = {"x": feeds(8)["x"], "scale": feeds(1)["scale"]}
    with pytest.raises(InputError, match=r"not compiled for these shapes(.|\n)*x\[8, 96\], scale\[1, 1\]"):
        model.run(mixed)
    with pytest.raises(InputError, match="not the ones of this model"):
        model.run({"x": feeds(8)["x"]})
    with pytest.raises(InputError, match="not a tensor"):
        model.run({"x": "text", "scale": feeds(8)["scale"]})
    with pytest.raises(InputError, match="wrong shape or dtype"):
        model.run({name: each.astype(np.float64) for name, each in feeds(8).items()})
    for wrong, fault in (({"x": (2, HIDDEN)}, "no such shape"), ({"z": (8, HIDDEN)}, "no such"), ({}, "several")):
        with pytest.raises(UsageError, match=rf"{fault}(.|\n)*{every}"):
            model.at(wrong)


def test_weights_of_one_format_are_there_once() -> None:
    """Of one width, too: 13 to 15 rows are as many vectors on every processor, which is what columns are told in."""
    alone, together = (
        sparsec.compile(network(), shapes=shapes, use_measurements=False).session
        for shapes in ([shapes_of(13)], [shapes_of(13), shapes_of(14), shapes_of(15)])
    )
    assert together.program.weights.nbytes == alone.program.weights.nbytes
    assert all(each.weights is together.program.weights for each in together.programs)


def test_weights_stay_in_the_file_that_they_are_mapped_from(loaded: sparsec.CompiledModel) -> None:
    check(loaded, 1)
    session = loaded.session
    addresses = {model._weights.ctypes.data for model in session._models.values()}
    assert addresses == {session.program.weights.ctypes.data}
    assert len(session._models) > 1


def test_halves_are_widened_once(tmp_path: Path) -> None:
    model = sparsec.compile(network(), shapes=SETS, storage="fp16", use_measurements=False)
    model.save(tmp_path / "half.sparsec")
    session = sparsec.load(tmp_path / "half.sparsec")
    for rows in (1, 8, 33):
        check(session, rows, tolerance=5e-3)
        check(model, rows, tolerance=5e-3)


def test_only_several_shapes_need_another_version(tmp_path: Path) -> None:
    for shapes, version in ((SETS[:1], FORMAT_VERSION), (SETS[:2], SEVERAL_SHAPES)):
        sparsec.compile(network(), shapes=shapes).save(tmp_path / "a.sparsec")
        with zipfile.ZipFile(tmp_path / "a.sparsec") as archive:
            assert json.loads(archive.read("manifest.json"))["format_version"] == version
            assert ("code_1.bin" in archive.namelist()) == (len(shapes) == 2)
    with pytest.raises(ArtifactError, match=r"for several shapes(.|\n)*2 of them"):
        sparsec.artifact.read(tmp_path / "a.sparsec")


def test_shapes_are_called_from_many_threads(loaded: sparsec.CompiledModel) -> None:
    faults: list[BaseException] = []

    def call(seed: int) -> None:
        try:
            for number in range(30):
                check(loaded, (1, 8, 33)[(seed + number) % 3], seed=seed)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert faults == []


def test_a_closed_session_makes_no_more_shapes_ready() -> None:
    model = sparsec.compile(network(), shapes=SETS)
    model.session.close()
    for rows in (8, 1):
        with pytest.raises(UsageError, match="closed"):
            model.run(feeds(rows))


@pytest.mark.parametrize(
    ("shapes", "fault"),
    [
        ([], "no shape to compile for"),
        ([SETS[0], SETS[1], SETS[0]], r"given twice(.|\n)*x\[8, 96\]"),
        ([SETS[0], {"x": (1, HIDDEN)}], "not for the same inputs"),
    ],
)
def test_sets_that_cannot_be_told_apart_are_refused(shapes: list[dict[str, tuple[int, ...]]], fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        sparsec.compile(network(), shapes=shapes)


def test_a_module_of_torch_has_other_shapes_than_its_examples() -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(24, 16)

        def forward(self, x: torch.Tensor, mask: torch.Tensor, *, bias: torch.Tensor) -> torch.Tensor:
            return self.linear(x) * mask + bias

    net = Net().eval()
    examples = {"x": torch.zeros(1, 24), "mask": torch.zeros(1, 1), "bias": torch.zeros(16)}
    sets = [{"x": (rows, 24), "mask": (rows, 1)} for rows in (1, 7)]
    model = sparsec.compile(net, examples, shapes=sets)
    assert model.shapes == tuple({**each, "bias": (16,)} for each in sets)
    for rows in (1, 7):
        given = torch.randn(rows, 24), torch.rand(rows, 1), torch.randn(16)
        expected = net(*given[:2], bias=given[2]).detach()
        torch.testing.assert_close(model(*given), expected, atol=1e-5, rtol=1e-5)
    in_order = sparsec.compile(net.linear, (torch.zeros(1, 24),), shapes={"input": (5, 24)})
    assert in_order.inputs[0].shape == (5, 24)
    with pytest.raises(UsageError, match=r"no such input(.|\n)*bias, mask, x(.|\n)*got: y"):
        sparsec.compile(net, examples, shapes={"y": (1, 2)})
    exported = torch.export.export(net.linear, (torch.zeros(1, 24),))
    with pytest.raises(UsageError, match="has the shapes that it was exported with"):
        sparsec.compile(exported, shapes={"input": (5, 24)})


def test_progress_goes_on_from_shape_to_shape() -> None:
    told: list[tuple[str, int, int]] = []
    sparsec.compile(network(), shapes=SETS, progress=lambda *each: told.append(each))
    numbers = [number for _, number, _ in told]
    assert numbers == sorted(numbers)
    assert len({count for *_, count in told}) == 1
    assert numbers[-1] < told[0][2]
    assert [stage for stage, *_ in told].count("import") == len(SETS)


def test_users_of_onnx_runtime_give_several_shapes() -> None:
    session = sparsec.InferenceSession(network(), shapes=SETS)
    assert [(each.name, each.shape) for each in session.get_inputs()] == [("x", [None, HIDDEN]), ("scale", [None, 1])]
    assert [each.shape for each in session.get_outputs()] == [[None, OUT]]
    for rows in (8, 33):
        (found,) = session.run(None, feeds(rows))
        np.testing.assert_allclose(found, expected(feeds(rows)), atol=1e-5, rtol=1e-5)


def test_plans_for_gpus_share_weights_and_constants(tmp_path: Path) -> None:
    sizes = []
    for shapes in (SETS[:1], SETS):
        model = sparsec.compile(network(), target="cuda", shapes=shapes)
        sizes.append(model.summary.weight_bytes)
        model.save(tmp_path / "gpu.sparsec")
    assert sizes[0] == sizes[1]
    loaded = sparsec.load(tmp_path / "gpu.sparsec")
    assert loaded.shapes == tuple(SETS)
    assert loaded.summary == model.summary or loaded.summary.code_bytes > model.summary.code_bytes
    assert [len(loaded.at(each).calls) for each in SETS] == [len(model.at(each).calls) for each in SETS]
