"""Kernels written in the words of `code/machine` without a GPU: compiled by a C++ compiler, each thread a coroutine (`emulation.h`)."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.code.source import source_of
from sparsec.cuda.device.driver import Buffer, TensorMap

EMULATED = ("machine", "made")  # folders of headers, whose functions are those of `emulation.h`
COMPILER = shutil.which("g++")


@dataclass(frozen=True, slots=True)
class EmulatedFunction:
    """A kernel as compiled for the CPU."""

    run: ctypes._NamedFuncPointer


@dataclass(slots=True, eq=False)
class EmulatedDevice:
    """What launches see of a GPU; addresses are the CPU's. `launches` has the kernels that ran."""

    multiprocessors: int = 4
    architecture: tuple[int, int] = (8, 0)
    shared_bytes: int = 166912
    index: int = 0
    bytes_per_second: float = 2e12
    launches: list[tuple[int, int]] = field(default_factory=list)
    _kept: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    def launch(
        self, function: EmulatedFunction, grid: tuple[int, int], threads: int, arguments: ctypes.Structure, stream: int
    ) -> None:
        self.launches.append(grid)
        function.run(ctypes.byref(arguments), *grid, threads)

    def tensor_map(self, address: int, rows: int, columns: int, stride: int, box: tuple[int, int]) -> TensorMap:
        """As `emulation.h` has it."""
        return TensorMap.from_buffer_copy(np.array([address, rows, columns, stride, *box, *[0] * 10], dtype=np.int64))

    def upload(self, array: NDArray[np.generic]) -> Buffer:
        space = np.empty(array.nbytes + 256, dtype=np.uint8)
        begin = -space.ctypes.data % 256
        space[begin : begin + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        buffer = Buffer(space.ctypes.data + begin, array.nbytes)
        self._kept[buffer.address] = space[begin : begin + array.nbytes]
        return buffer

    def array(self, buffer: Buffer) -> NDArray[np.uint8]:
        """The bytes there."""
        return self._kept[buffer.address]

    def zeros(self, nbytes: int) -> Buffer:
        return self.upload(np.zeros(nbytes, dtype=np.uint8))

    def allocate_in_order(self, nbytes: int, stream: int) -> Buffer:
        """Memory that is NaN."""
        return self.upload(np.full(nbytes, 0xFF, dtype=np.uint8))

    def free_in_order(self, buffer: Buffer, stream: int) -> None:
        """Memory is the test's."""

    def free(self, buffer: Buffer) -> None:
        """Memory is the test's."""

    def synchronize(self) -> None:
        """Everything is done already."""


def emulated_function(on: object, kernel: str, macros: Mapping[str, int], shared_bytes: int) -> EmulatedFunction:
    """In the place of `program.function`."""
    return EmulatedFunction(_compiled(kernel, tuple(sorted(macros.items()))))


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="sparsec-emulation-")


@functools.cache
def _compiled(kernel: str, macros: tuple[tuple[str, int], ...]) -> ctypes._NamedFuncPointer:
    body = f'extern "C" void run(const void *o, int x, int y, int threads) {{ emulate(x, y, threads, [=] {{ call({kernel}, o); }}); }}'
    header = Path(__file__).with_name("emulation.h")
    source = "\n".join(
        [*(f"#define {name} {value}" for name, value in macros), f'#include "{header}"',
         source_of(kernel, dict(macros), without=EMULATED), body]
    )  # fmt: skip
    stem = Path(_folder().name, hashlib.sha256(source.encode()).hexdigest()[:16])
    stem.with_suffix(".cpp").write_text(source)
    command = [COMPILER or "g++", "-O1", "-std=c++17", "-shared", "-fPIC", "-w", "-Wno-narrowing"]
    subprocess.run([*command, str(stem.with_suffix(".cpp")), "-o", str(stem.with_suffix(".so"))], check=True)
    library = ctypes.CDLL(str(stem.with_suffix(".so")))
    return library.run
