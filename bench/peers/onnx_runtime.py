"""ONNX Runtime, its buffers bound once."""

from __future__ import annotations

import numpy as np

from bench.peers.network import Network, enter_layer
from bench.peers.peer import F32, AbsentError, Arrays, Calls, Contestant, Layer


class OnnxRuntime:
    def __init__(self) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise AbsentError(str(error)) from error
        self._library = onnxruntime
        self.version: str = onnxruntime.__version__

    def enter(self, layer: Layer) -> Contestant[F32]:
        return enter_layer(self, layer)

    def enter_network(self, network: Network) -> Calls[Arrays]:
        options = self._library.SessionOptions()
        options.log_severity_level = 3
        options.inter_op_num_threads, options.intra_op_num_threads = 1, network.threads
        # Its idle threads would otherwise spin into the time of whoever is measured next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # Else sums of bytes saturate on x86-64 without VNNI, and whoever is wrong is not measured.
        options.add_session_config_entry("session.x64quantprecision", "1")
        model = network.model if isinstance(network.model, bytes) else str(network.model)
        session = self._library.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        for name, array in network.feeds.items():
            binding.bind_cpu_input(name, array)
        results = session.run(None, dict(network.feeds))
        outs = [self._library.OrtValue.ortvalue_from_numpy(np.asarray(each)) for each in results]
        for each, out in zip(session.get_outputs(), outs, strict=True):
            binding.bind_ortvalue_output(each.name, out)
        return Calls(lambda: session.run_with_iobinding(binding), lambda: tuple(out.numpy() for out in outs))

    def close(self) -> None:
        pass
