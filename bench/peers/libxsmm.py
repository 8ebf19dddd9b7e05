"""LIBXSMM's spmdm, float32, through a shim in C that is compiled when the engine is opened."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from bench.peers.peer import F32, AbsentError, Calls, FailedError, Layer

_SHIM = Path(__file__).with_name("libxsmm_spmdm.c")
_LIBRARIES = ("-lxsmm", "-lxsmmnoblas", "-lpthread", "-lm", "-ldl")


class Libxsmm:
    def __init__(self) -> None:
        compiler = _compiler()
        self._folder = tempfile.TemporaryDirectory(prefix="sparsec-bench-")
        shim = Path(self._folder.name) / "shim.so"
        command = [*compiler, "-O2", "-shared", "-fPIC", str(_SHIM), "-o", str(shim), *_LIBRARIES]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode:
            self._folder.cleanup()
            errors = [line for line in built.stderr.splitlines() if "error" in line or "cannot find" in line]
            raise AbsentError((errors or ["the shim does not compile"])[0].rpartition(": ")[2])
        self._library = ctypes.CDLL(str(shim))
        self._library.product_version.restype = ctypes.c_char_p
        self._library.product_create.restype = ctypes.c_void_p
        self.version: str = self._library.product_version().decode()

    def enter(self, layer: Layer) -> Calls[F32]:
        library, (m, k), n = self._library, layer.weight.shape, layer.x.shape[1]
        product = ctypes.c_void_p(library.product_create(m, n, k, ctypes.c_void_p(layer.weight.ctypes.data)))
        if not product:
            raise FailedError("LIBXSMM made no product")
        y = np.zeros((m, n), np.float32)
        x_at, y_at, run = ctypes.c_void_p(layer.x.ctypes.data), ctypes.c_void_p(y.ctypes.data), library.product_run
        return Calls(lambda: run(product, x_at, y_at), lambda: y, lambda: library.product_destroy(product))

    def close(self) -> None:
        self._folder.cleanup()


def _compiler() -> list[str]:
    """The command of the C compiler; raises `AbsentError`."""
    if named := os.environ.get("CC"):
        return shlex.split(named)
    for name in ("cc", "gcc", "clang"):
        if path := shutil.which(name):
            return [path]
    raise AbsentError("there is no C compiler")
