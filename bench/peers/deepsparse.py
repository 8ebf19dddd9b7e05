"""DeepSparse, in the process of an interpreter that has it: it wants Python 3.11 or older and NumPy 1.

For measuring only: its licence allows evaluation, not production.
"""

from __future__ import annotations

import json
import os

import numpy as np

from bench.peers.network import Network, enter_layer
from bench.peers.peer import F32, AbsentError, Arrays, Contestant, Layer
from bench.peers.worker import Worker

INTERPRETER = "SPARSEC_DEEPSPARSE_PYTHON"


class DeepSparse(Worker):
    def __init__(self) -> None:
        interpreter = os.environ.get(INTERPRETER, "")
        if not interpreter:
            raise AbsentError(f"the environment variable {INTERPRETER} is not set")
        super().__init__([interpreter, "-m", "bench.peers.deepsparse_worker"], os.environ)

    def enter(self, layer: Layer) -> Contestant[F32]:
        return enter_layer(self, layer)

    def enter_network(self, network: Network) -> Contestant[Arrays]:
        model = self.folder / "model.onnx"
        model.unlink(missing_ok=True)
        if isinstance(network.model, bytes):
            model.write_bytes(network.model)
        else:
            model.symlink_to(network.model.absolute())
        np.savez(self.folder / "feeds.npz", *network.feeds.values())
        (self.folder / "settings.json").write_text(json.dumps({"threads": network.threads}))
        return self.load(lambda arrays: arrays)
