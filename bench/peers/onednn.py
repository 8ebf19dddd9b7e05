"""oneDNN, in processes of their own: the wheel's oneDNN needs Intel's OpenCL and TBB, and finds them by environment."""

from __future__ import annotations

import os
import sys

import numpy as np

from bench.peers.int8_layer import quantized
from bench.peers.libraries import packaged_library
from bench.peers.peer import F32, Contestant, Layer
from bench.peers.worker import Worker

LIBRARY = "SPARSEC_BENCH_ONEDNN"  # how the far sides get to know the path


class _OneDnn(Worker):
    def __init__(self, far_side: str) -> None:
        library = packaged_library("onednn", "libdnnl")
        environment = {**os.environ, LIBRARY: str(library)}
        driver = library.parent / "libintelocl.so"
        if driver.exists():  # a SYCL build, as on PyPI
            environment["OCL_ICD_FILENAMES"] = str(driver)
            environment["LD_LIBRARY_PATH"] = str(library.parent)
        super().__init__([sys.executable, "-m", far_side], environment)


class OneDnnCsr(_OneDnn):
    """CSR weights, float32."""

    def __init__(self) -> None:
        super().__init__("bench.peers.onednn_worker")

    def enter(self, layer: Layer) -> Contestant[F32]:
        np.save(self.folder / "weight.npy", layer.weight)
        np.save(self.folder / "x.npy", layer.x)
        return self.load(lambda arrays: np.asarray(arrays[0], np.float32))


class OneDnnInt8(_OneDnn):
    """Dense: activations to u8, u8 x s8, back to float32."""

    def __init__(self) -> None:
        super().__init__("bench.peers.onednn_int8_worker")

    def enter(self, layer: Layer) -> Contestant[F32]:
        found = quantized(layer)
        np.savez(
            self.folder / "quantized.npz",
            weight=np.ascontiguousarray(found.weight.T),
            tokens=layer.tokens,
            w_scale=found.weight_scale,
            x_scale=found.x_scale,
            x_zero=found.x_zero,
        )
        return self.load(lambda arrays: np.asarray(arrays[0], np.float32).T)
