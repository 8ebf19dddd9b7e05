"""The far side of `deepsparse`: compiles model.onnx with DeepSparse for the inputs in feeds.npz."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np

from bench.peers.peer import Arrays, Calls
from bench.peers.serve import Load, serve


def opened() -> tuple[str, Load]:
    deepsparse = import_module("deepsparse")

    def load(folder: Path) -> Calls[Arrays]:
        found = np.load(folder / "feeds.npz")
        feeds = [found[f"arr_{index}"] for index in range(len(found.files))]
        threads = json.loads((folder / "settings.json").read_text())["threads"]
        engine = deepsparse.compile_model(str(folder / "model.onnx"), batch_size=feeds[0].shape[0], num_cores=threads)
        result = [engine.run(feeds)]

        def run() -> None:
            result[0] = engine.run(feeds)

        return Calls(run, lambda: tuple(np.asarray(each) for each in result[0]))

    return str(deepsparse.__version__), load


if __name__ == "__main__":
    serve(opened)
