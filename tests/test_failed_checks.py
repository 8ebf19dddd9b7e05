"""A value that a network cannot take makes its run fail with the name of the node, and no other run."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper

from sparsec import artifact
from sparsec.artifact import Complaint, Program
from sparsec.driver import compile_program
from sparsec.errors import ArtifactError, InputError
from sparsec.runtime import Session

X = np.arange(30, dtype=np.float32).reshape(5, 6)


def node_program(op: str, inputs: dict[str, NDArray[np.generic]], result: NDArray[np.generic]) -> Program:
    """A model of one ONNX node called `the node`."""

    def described(name: str, array: NDArray[np.generic]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)

    node = helper.make_node(op, list(inputs), ["y"], name="the node")
    graph = helper.make_graph([node], "g", [described(*each) for each in inputs.items()], [described("y", result)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return compile_program(model.SerializeToString())


@pytest.fixture(scope="module")
def gather() -> Program:
    rows = np.zeros(64, np.int64)
    return node_program("Gather", {"x": X, "i": rows}, X[rows])


@pytest.mark.parametrize("bad", [5, -6, 2**62, -(2**63)])
@pytest.mark.parametrize("threads", [1, 2])
def test_gather(gather: Program, bad: int, threads: int) -> None:
    rows = np.arange(64) % 10 - 5
    with Session(gather, threads=threads) as session:
        for _ in range(3):
            np.testing.assert_array_equal(session.run([X, rows])["y"], X[rows])
            with pytest.raises(InputError, match="out of range of an axis of length 5") as failure:
                session.run([X, np.where(np.arange(64) == 17, bad, rows)])
            assert failure.value.where == "the node"


@pytest.mark.parametrize("op", ["GatherElements", "GatherND"])
def test_other_gathers(op: str) -> None:
    good, bad = np.array([[0, 1], [4, 4], [-1, -5]]), np.array([[0, 1], [4, 9], [-1, -5]])
    expected = X[good, [0, 1]] if op == "GatherElements" else X[good[:, 0], good[:, 1]]
    with Session(node_program(op, {"x": X, "i": good}, expected), threads=1) as session:
        np.testing.assert_array_equal(session.run([X, good])["y"], expected)
        with pytest.raises(InputError) as failure:
            session.run([X, bad])
        assert failure.value.where == "the node"


def test_division() -> None:
    lowest = np.iinfo(np.int64).min
    dividends, divisors = np.array([7, -8, lowest]), np.array([2, -1, 1])
    with Session(node_program("Div", {"a": dividends, "b": divisors}, dividends), threads=1) as session:
        assert session.run([dividends, divisors])["y"].tolist() == [3, 8, lowest]
        with pytest.raises(InputError, match="divided by zero"):
            session.run([dividends, np.array([2, 0, 1])])
        with pytest.raises(InputError, match="overflows"):
            session.run([dividends, np.array([2, 1, -1])])


class Lookup(torch.nn.Module):
    """Rows of a table, then of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(50, 8)

    def forward(self, words: torch.Tensor, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        taken: torch.Tensor = torch.relu(self.table(words)) + torch.index_select(x, 0, rows)
        return taken


@pytest.mark.parametrize(("word", "row", "node"), [(50, 0, "table"), (-1, 0, "table"), (0, 4, "index_select")])
def test_the_node_is_named(word: int, row: int, node: str) -> None:
    model = Lookup().eval()
    feeds = [torch.tensor([1, 49, 0]), torch.randn(4, 8), torch.tensor([3, 0, 1])]
    with Session(compile_program(model, example_inputs=tuple(feeds)), threads=1) as session:
        (result,) = session.run(feeds).values()
        np.testing.assert_allclose(np.asarray(result, np.float64), model(*feeds).detach().numpy(), rtol=1e-6)
        feeds[0][1], feeds[2][1] = word, row
        with pytest.raises(InputError) as failure:
            session.run(feeds)
        assert node in str(failure.value.where)


def test_other_runs_of_the_model_go_on(gather: Program) -> None:
    good = np.arange(64) % 5
    bad = np.full(64, 99)
    wrong: list[str] = []

    def succeed() -> None:
        for _ in range(300):
            if not np.array_equal(session.run([X, good])["y"], X[good]):
                wrong.append("a good run gave other values")

    def fail() -> None:
        for _ in range(300):
            try:
                session.run([X, bad])
                wrong.append("a bad run passed")
            except InputError:
                pass

    with Session(gather, threads=2) as session:
        threads = [threading.Thread(target=each) for each in (succeed, fail, succeed)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_checks_survive_the_artifact(gather: Program, tmp_path: Path) -> None:
    artifact.write(gather, tmp_path / "gather.sparsec")
    back = artifact.read(tmp_path / "gather.sparsec")
    assert (back.status, back.complaints) == (gather.status, gather.complaints)
    with Session(back, threads=1) as session, pytest.raises(InputError):
        session.run([X, np.full(64, 5)])


@pytest.mark.parametrize(
    ("status", "complaints"),
    [(-8, 1), (4, 1), (1 << 40, 1), (None, 1), (0, 0)],
    ids=["before", "unaligned", "behind", "none", "unused"],
)
def test_an_impossible_status_is_refused(gather: Program, status: int | None, complaints: int) -> None:
    with pytest.raises(ArtifactError):
        artifact.check(replace(gather, status=status, complaints=(Complaint("node", "what"),) * complaints))
