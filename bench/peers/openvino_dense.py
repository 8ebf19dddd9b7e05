"""OpenVINO on one thread in float32, reading the input in place."""

from __future__ import annotations

import numpy as np

from bench.peers.onnx_layer import onnx_layer
from bench.peers.peer import AbsentError, Calls, Layer

SETTINGS = {
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": 1,
    "INFERENCE_NUM_THREADS": 1,
    "INFERENCE_PRECISION_HINT": "f32",
    "ENABLE_CPU_PINNING": False,
}


class OpenVino:
    def __init__(self) -> None:
        try:
            import openvino
        except ImportError as error:
            raise AbsentError(str(error)) from error
        self._library, self._core = openvino, openvino.Core()
        self.version: str = openvino.__version__.split("-")[0]

    def enter(self, layer: Layer) -> Calls:
        request = self._core.compile_model(self._core.read_model(onnx_layer(layer)), "CPU", SETTINGS)
        request = request.create_infer_request()
        request.set_input_tensor(self._library.Tensor(layer.tokens, shared_memory=True))
        return Calls(request.infer, lambda: np.array(request.get_output_tensor().data).T)

    def close(self) -> None:
        pass
