"""oneDNN's CSR matmul, in a process of its own: the wheel's oneDNN needs Intel's OpenCL and TBB, and finds them by environment."""

from __future__ import annotations

import os
import sys

import numpy as np

from bench.peers.libraries import packaged_library
from bench.peers.peer import F32, Contestant, Layer
from bench.peers.worker import Worker

LIBRARY = "SPARSEC_BENCH_ONEDNN"  # how the far side gets to know the path


class OneDnnCsr(Worker):
    def __init__(self) -> None:
        library = packaged_library("onednn", "libdnnl")
        environment = {**os.environ, LIBRARY: str(library)}
        driver = library.parent / "libintelocl.so"
        if driver.exists():  # a SYCL build, as on PyPI
            environment["OCL_ICD_FILENAMES"] = str(driver)
            environment["LD_LIBRARY_PATH"] = str(library.parent)
        super().__init__([sys.executable, "-m", "bench.peers.onednn_worker"], environment)

    def enter(self, layer: Layer) -> Contestant[F32]:
        np.save(self.folder / "weight.npy", layer.weight)
        np.save(self.folder / "x.npy", layer.x)
        return self.load(lambda arrays: np.asarray(arrays[0], np.float32))
