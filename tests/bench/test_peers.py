"""Peers: right results from those that tests have, reasons from those that are absent, and the protocol of workers."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.peers.deepsparse import INTERPRETER, DeepSparse
from bench.peers.int8_layer import InForm, product
from bench.peers.libraries import packaged_library
from bench.peers.network import OPERATOR, QDQ
from bench.peers.onnx_runtime import OnnxRuntime
from bench.peers.peer import F32, AbsentError, Contestant, Engine, FailedError, Layer, Peer, timed
from bench.peers.scipy_csr import ScipyCsr
from bench.peers.table import ALL, DENSE, PEERS, open_peers
from bench.peers.torch_csr import TorchCsr
from bench.peers.torch_dense import TorchBf16, TorchDense
from bench.peers.worker import Worker
from bench.spmm_cells import Cell, make_layer

LAYER = make_layer(Cell(32, 64, 16, "unstructured", 0.7))

FAR_SIDE = """
import numpy as np
from bench.peers.peer import Calls
from bench.peers.serve import serve

def load(folder):
    print("noise that must not get between the answers", flush=True)
    weight, x = np.load(folder / "weight.npy"), np.load(folder / "x.npy")
    if not weight.any():
        raise ValueError("nothing to do")
    if weight[0, 0] == 42:
        raise SystemExit(3)
    result = [x]
    def run():
        result[0] = weight @ x
    return Calls(run, lambda: (result[0],))

serve(lambda: ("1.2.3", load))
"""


class FarSide(Worker):
    """A layer in a worker."""

    def enter(self, layer: Layer) -> Contestant[F32]:
        for name in ("weight", "x"):
            np.save(self.folder / f"{name}.npy", getattr(layer, name))
        return self.load(lambda arrays: np.asarray(arrays[0], np.float32))


def assert_right(engine: Engine, layer: Layer) -> None:
    contestant = engine.enter(layer)
    try:
        contestant.turn(2)
        np.testing.assert_allclose(contestant.output(), layer.weight @ layer.x, rtol=1e-4, atol=1e-4)
    finally:
        contestant.close()


@pytest.mark.parametrize("engine", [OnnxRuntime, ScipyCsr, TorchDense, TorchCsr])
def test_peers_compute_the_product(engine: type[OnnxRuntime | ScipyCsr | TorchDense]) -> None:
    opened = engine()
    assert opened.version[0].isdigit()
    assert_right(opened, LAYER)
    opened.close()


def test_a_worker_computes_fails_and_starts_again() -> None:
    worker = FarSide([sys.executable, "-c", FAR_SIDE], os.environ)
    try:
        assert worker.version == "1.2.3"
        assert_right(worker, LAYER)
        with pytest.raises(FailedError, match="nothing to do"):
            worker.enter(Layer(np.zeros_like(LAYER.weight), LAYER.x, LAYER.tokens))
        deadly = LAYER.weight.copy()
        deadly[0, 0] = 42
        with pytest.raises(FailedError, match="code 3"):
            worker.enter(Layer(deadly, LAYER.x, LAYER.tokens))
        assert_right(worker, LAYER)
    finally:
        worker.close()


def test_a_far_side_that_cannot_start_is_absent() -> None:
    with pytest.raises(AbsentError, match="not here"):
        Worker([sys.executable, "-c", 'raise SystemExit(print(\'{"error": "not here"}\'))'], os.environ)
    with pytest.raises(AbsentError):
        Worker(["no-such-interpreter"], os.environ)


def test_deepsparse_is_absent_without_its_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(INTERPRETER, raising=False)
    with pytest.raises(AbsentError, match=INTERPRETER):
        DeepSparse()


def test_absent_peers_say_why_and_what_to_do() -> None:
    def missing() -> Engine:
        raise AbsentError("it is not there")

    engines, absent = open_peers((Peer("scipy-csr", False, "", ScipyCsr), Peer("ghost", False, "buy it", missing)))
    assert list(engines) == ["scipy-csr"]
    assert absent == {"ghost": "it is not there; to have it: buy it"}


def test_the_table_names_each_peer_once_and_says_how_to_install_it() -> None:
    for peers in PEERS.values():
        names = [peer.name for peer in peers]
        assert len(set(names)) == len(names)
        assert DENSE & set(names)
        assert set(names) - DENSE
    assert all(peer.install for peer in ALL)
    assert {"onnxruntime", "openvino", "torch"} < DENSE


@pytest.mark.parametrize("form", [OPERATOR, QDQ])
def test_the_int8_layer_is_what_engines_compute(form: str) -> None:
    columns = np.array([0, 7, 15])
    contestant = InForm(OnnxRuntime(), form).enter(LAYER)
    contestant.turn(1)
    expected = product(LAYER, columns)
    np.testing.assert_allclose(contestant.output()[:, columns], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    exact = LAYER.weight @ LAYER.x[:, columns]
    assert np.abs(expected - exact).max() < 0.05 * np.abs(exact).max()


def test_torch_computes_in_bf16() -> None:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        with pytest.raises(AbsentError, match="no bfloat16 on this processor"):
            TorchBf16()
        return
    contestant = TorchBf16().enter(LAYER)
    contestant.turn(1)
    expected = LAYER.weight @ LAYER.x
    error = np.abs(contestant.output() - expected).max() / np.abs(expected).max()
    assert 1e-5 < error < 2e-2


def test_a_packaged_library_is_found_by_the_files_of_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "libthing.so.3").touch()

    class Found(metadata.PackagePath):
        def locate(self) -> Path:
            return tmp_path / self.name

    monkeypatch.setattr(metadata, "files", lambda _: [Found("a/b.py"), Found("lib/libthing.so.3")])
    assert packaged_library("thing", "libthing") == tmp_path / "libthing.so.3"


def test_a_library_that_is_nowhere_is_absent() -> None:
    with pytest.raises(AbsentError, match="libnothing_of_that_name"):
        packaged_library("no-such-package", "libnothing_of_that_name")


def test_the_first_call_is_not_timed() -> None:
    calls: list[int] = []
    turn = timed(lambda: calls.append(0), 3)
    assert len(calls) == 4
    assert turn.wall_ns > 0
