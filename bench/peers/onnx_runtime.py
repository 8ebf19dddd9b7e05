"""ONNX Runtime on one thread, its buffers bound once."""

from __future__ import annotations

import numpy as np

from bench.peers.onnx_layer import onnx_layer
from bench.peers.peer import AbsentError, Calls, Layer


class OnnxRuntime:
    def __init__(self) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise AbsentError(str(error)) from error
        self._library = onnxruntime
        self.version: str = onnxruntime.__version__

    def enter(self, layer: Layer) -> Calls:
        options = self._library.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = self._library.InferenceSession(onnx_layer(layer), options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        binding.bind_cpu_input("x", layer.tokens)
        out = self._library.OrtValue.ortvalue_from_numpy(
            np.zeros((layer.tokens.shape[0], layer.weight.shape[0]), np.float32)
        )
        binding.bind_ortvalue_output("y", out)
        return Calls(lambda: session.run_with_iobinding(binding), lambda: out.numpy().T)

    def close(self) -> None:
        pass
