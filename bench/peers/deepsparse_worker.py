"""The far side of `deepsparse`: compiles the ONNX layer with DeepSparse, one core."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np

from bench.peers.peer import Calls
from bench.peers.serve import Load, serve


def opened() -> tuple[str, Load]:
    deepsparse = import_module("deepsparse")

    def load(folder: Path) -> Calls:
        tokens = np.load(folder / "tokens.npy")
        engine = deepsparse.compile_model(str(folder / "layer.onnx"), batch_size=tokens.shape[0], num_cores=1)
        result = [engine.run([tokens])]

        def run() -> None:
            result[0] = engine.run([tokens])

        return Calls(run, lambda: np.asarray(result[0][0]).T)

    return str(deepsparse.__version__), load


if __name__ == "__main__":
    serve(opened)
