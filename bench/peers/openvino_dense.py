"""OpenVINO, reading its inputs in place."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bench.peers.network import Network, enter_layer
from bench.peers.peer import F32, AbsentError, Arrays, Calls, Contestant, Layer

_PRECISIONS: Mapping[str, str] = {"fp32": "f32", "bf16": "bf16"}


class OpenVino:
    def __init__(self) -> None:
        try:
            import openvino
        except ImportError as error:
            raise AbsentError(str(error)) from error
        self._library, self._core = openvino, openvino.Core()
        self.version: str = openvino.__version__.split("-")[0]

    def enter(self, layer: Layer) -> Contestant[F32]:
        return enter_layer(self, layer)

    def enter_network(self, network: Network) -> Calls[Arrays]:
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": network.threads,
            "INFERENCE_PRECISION_HINT": _PRECISIONS[network.precision],
            "ENABLE_CPU_PINNING": False,
        }
        compiled = self._core.compile_model(self._core.read_model(network.model), "CPU", settings)
        request = compiled.create_infer_request()
        for name, array in network.feeds.items():
            request.set_tensor(name, self._library.Tensor(array, shared_memory=True))
        count = len(compiled.outputs)
        return Calls(
            request.infer, lambda: tuple(np.array(request.get_output_tensor(index).data) for index in range(count))
        )

    def close(self) -> None:
        pass
