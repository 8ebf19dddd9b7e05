"""The peers by precision, one row each, the dense ones first."""

from __future__ import annotations

from collections.abc import Mapping

from bench.peers.deepsparse import INTERPRETER, DeepSparse
from bench.peers.int8_layer import InForm
from bench.peers.libxsmm import Libxsmm
from bench.peers.mkl_csr import MklCsr
from bench.peers.network import OPERATOR, QDQ
from bench.peers.onednn import OneDnnCsr, OneDnnInt8
from bench.peers.onnx_runtime import OnnxRuntime
from bench.peers.openvino_dense import OpenVino
from bench.peers.peer import AbsentError, Engine, Peer
from bench.peers.scipy_csr import ScipyCsr
from bench.peers.torch_csr import TorchCsr
from bench.peers.torch_dense import TorchBf16, TorchDense

_DEEPSPARSE = f"python3.11 -m venv V; V/bin/pip install deepsparse==1.8.0; export {INTERPRETER}=V/bin/python"

_ONNXRUNTIME, _OPENVINO, _TORCH = "pip install onnxruntime", "pip install openvino", "pip install torch"
_ONEDNN, _LIBXSMM = "pip install onednn (2026.1 or later)", "apt-get install gcc libxsmm-dev"

# By the precision of ours. The names that end in a precision compute in that one; activations are float32 for all.
PEERS: Mapping[str, tuple[Peer, ...]] = {
    "fp32": (
        Peer("onnxruntime", True, _ONNXRUNTIME, OnnxRuntime),
        Peer("openvino", True, _OPENVINO, OpenVino),
        Peer("torch", True, _TORCH, TorchDense),
        Peer("torch-csr", False, _TORCH, TorchCsr),
        Peer("mkl-csr", False, "pip install mkl", MklCsr),
        Peer("onednn-csr", False, _ONEDNN, OneDnnCsr),
        Peer("libxsmm", False, _LIBXSMM, Libxsmm),
        Peer("scipy-csr", False, "pip install scipy", ScipyCsr),
        Peer("deepsparse", False, _DEEPSPARSE, DeepSparse),
    ),
    "bf16": (
        Peer("openvino-bf16", True, _OPENVINO, lambda: InForm(OpenVino(), precision="bf16")),
        Peer("torch-bf16", True, _TORCH, TorchBf16),
        Peer("onednn-csr", False, _ONEDNN, OneDnnCsr),
        Peer("libxsmm", False, _LIBXSMM, Libxsmm),
        Peer("deepsparse", False, _DEEPSPARSE, DeepSparse),
    ),
    "int8": (
        Peer("onnxruntime-fp32", True, _ONNXRUNTIME, OnnxRuntime),
        Peer("onnxruntime-int8", True, _ONNXRUNTIME, lambda: InForm(OnnxRuntime(), OPERATOR)),
        Peer("onnxruntime-qdq", True, _ONNXRUNTIME, lambda: InForm(OnnxRuntime(), QDQ)),
        Peer("openvino-int8", True, _OPENVINO, lambda: InForm(OpenVino(), QDQ)),
        Peer("onednn-int8", True, _ONEDNN, OneDnnInt8),
        Peer("deepsparse-int8", False, _DEEPSPARSE, lambda: InForm(DeepSparse(), OPERATOR)),
    ),
}

ALL = tuple({peer.name: peer for peers in PEERS.values() for peer in peers}.values())
DENSE = frozenset(peer.name for peer in ALL if peer.dense)


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
