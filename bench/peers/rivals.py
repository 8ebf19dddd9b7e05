"""Who races whole networks, in which form of the model and which arithmetic, for each precision of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.peers.deepsparse import DeepSparse
from bench.peers.network import OPERATOR, PLAIN, QDQ, NetworkEngine
from bench.peers.onnx_runtime import OnnxRuntime
from bench.peers.openvino_dense import OpenVino
from bench.peers.peer import AbsentError
from bench.peers.table import PEERS

ENGINES: Mapping[str, Callable[[], NetworkEngine]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "deepsparse": DeepSparse,
}


@dataclass(frozen=True, slots=True)
class Rival:
    """One contestant: an engine of `ENGINES`, the form that it gets, and the precision that it may compute floats in."""

    name: str
    engine: str
    form: str = PLAIN
    precision: str = "fp32"

    @property
    def dense(self) -> bool:
        """Whether it multiplies zeros too."""
        return self.engine != "deepsparse"


RIVALS: Mapping[str, tuple[Rival, ...]] = {
    "fp32": (
        Rival("onnxruntime", "onnxruntime"),
        Rival("openvino", "openvino"),
        Rival("deepsparse", "deepsparse"),
    ),
    "bf16": (
        Rival("onnxruntime-fp32", "onnxruntime"),
        Rival("openvino-bf16", "openvino", precision="bf16"),
        Rival("deepsparse-fp32", "deepsparse"),
    ),
    "int8": (
        Rival("onnxruntime-fp32", "onnxruntime"),
        Rival("onnxruntime", "onnxruntime", OPERATOR),
        Rival("onnxruntime-qdq", "onnxruntime", QDQ),
        Rival("openvino", "openvino", QDQ),
        Rival("deepsparse", "deepsparse", OPERATOR),
    ),
    # What is not quantised in bfloat16, which is OpenVINO's own choice where the processor has it; the others have none.
    "int8-bf16": (
        Rival("onnxruntime", "onnxruntime", OPERATOR),
        Rival("openvino-f32", "openvino", QDQ),
        Rival("openvino-bf16", "openvino", QDQ, precision="bf16"),
        Rival("deepsparse", "deepsparse", OPERATOR),
    ),
}


@dataclass(frozen=True, slots=True)
class Part:
    """Our part: the form of the model that we get, and the precision that we are compiled with."""

    form: str
    precision: str


OUR_PART: Mapping[str, Part] = {
    "fp32": Part(PLAIN, "f32"),
    "bf16": Part(PLAIN, "bf16"),
    "int8": Part(OPERATOR, "f32"),
    "int8-bf16": Part(OPERATOR, "bf16"),
}


def open_engines(rivals: tuple[Rival, ...]) -> tuple[dict[str, NetworkEngine], dict[str, str]]:
    """The engines that are there, by name; of the others, why not and what to do about it."""
    install = {peer.name: peer.install for peer in PEERS["fp32"]}
    engines: dict[str, NetworkEngine] = {}
    absent: dict[str, str] = {}
    for name in dict.fromkeys(rival.engine for rival in rivals):
        try:
            engines[name] = ENGINES[name]()
        except AbsentError as error:
            absent[name] = f"{error}; to have it: {install[name]}"
    return engines, absent
