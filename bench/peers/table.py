"""The peers, one row each, the dense ones first."""

from __future__ import annotations

from bench.peers.deepsparse import INTERPRETER, DeepSparse
from bench.peers.libxsmm import Libxsmm
from bench.peers.mkl_csr import MklCsr
from bench.peers.onednn_csr import OneDnnCsr
from bench.peers.onnx_runtime import OnnxRuntime
from bench.peers.openvino_dense import OpenVino
from bench.peers.peer import AbsentError, Engine, Peer
from bench.peers.scipy_csr import ScipyCsr
from bench.peers.torch_csr import TorchCsr
from bench.peers.torch_dense import TorchDense

_DEEPSPARSE = f"python3.11 -m venv V; V/bin/pip install deepsparse==1.8.0; export {INTERPRETER}=V/bin/python"

PEERS = (
    Peer("onnxruntime", True, "pip install onnxruntime", OnnxRuntime),
    Peer("openvino", True, "pip install openvino", OpenVino),
    Peer("torch", True, "pip install torch", TorchDense),
    Peer("torch-csr", False, "pip install torch", TorchCsr),
    Peer("mkl-csr", False, "pip install mkl", MklCsr),
    Peer("onednn-csr", False, "pip install onednn (2026.1 or later)", OneDnnCsr),
    Peer("libxsmm", False, "apt-get install gcc libxsmm-dev", Libxsmm),
    Peer("scipy-csr", False, "pip install scipy", ScipyCsr),
    Peer("deepsparse", False, _DEEPSPARSE, DeepSparse),
)

DENSE = frozenset(peer.name for peer in PEERS if peer.dense)


def open_peers(peers: tuple[Peer, ...]) -> tuple[dict[str, Engine], dict[str, str]]:
    """Open those that are there; of the others, why not and what to do about it."""
    engines: dict[str, Engine] = {}
    absent: dict[str, str] = {}
    for peer in peers:
        try:
            engines[peer.name] = peer.open()
        except AbsentError as error:
            absent[peer.name] = f"{error}; to have it: {peer.install}"
    return engines, absent
