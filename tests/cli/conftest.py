"""Tiny models on disk, and the command line in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sparsec.cli import main
from tests.cli.command_line import Finished, Sparsec


@pytest.fixture
def sparsec(capfd: pytest.CaptureFixture[str]) -> Sparsec:
    """The command line, as a function."""

    def run(*arguments: object) -> Finished:
        with pytest.raises(SystemExit) as exit_:
            main([str(each) for each in arguments])
        out, err = capfd.readouterr()
        return Finished(int(exit_.value.code or 0), out, err)

    return run


def linear_model(rows: int | str = 2) -> onnx.ModelProto:
    """y = relu(x @ w + b): x [rows, 24], w [24, 16] with three of four weights zero."""
    generator = np.random.default_rng(0)
    w = generator.standard_normal((24, 16)).astype(np.float32)
    w[generator.random(w.shape) < 0.75] = 0
    constants: Sequence[TensorProto] = [
        numpy_helper.from_array(w, "w"),
        numpy_helper.from_array(generator.standard_normal(16).astype(np.float32), "b"),
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["z"], name="fc1"),
        helper.make_node("Relu", ["z"], ["y"], name="relu1"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, 16])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ONNX file."""
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    onnx.save(linear_model(), path)
    return path


@pytest.fixture(scope="session")
def dynamic_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with an unknown number of rows."""
    path = tmp_path_factory.mktemp("models") / "dynamic.onnx"
    onnx.save(linear_model("rows"), path)
    return path


@pytest.fixture(scope="session")
def artifact(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, compiled."""
    import sparsec as package

    path = tmp_path_factory.mktemp("artifacts") / "tiny.sparsec"
    package.compile(model).save(path)
    return path
