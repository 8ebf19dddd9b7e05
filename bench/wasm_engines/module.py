"""Runs a compiled module in this process, as a program in C would: through its exports, with wasmtime."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import wasmtime

from bench.wasm_engines.engine import Array
from sparsec.artifact import NUMPY_DTYPES
from sparsec.targets.wasm_binary import HEADER, Reader, name
from sparsec.targets.wasm_math import FROM_HOST
from sparsec.targets.wasm_memory import HOST, INITIALISE
from sparsec.targets.wasm_module import HOSTS
from sparsec.targets.wasm_runner import PART, SHARE

_HOST: Mapping[str, Callable[..., float]] = {"fmod": math.fmod, "exp10": lambda x: 10.0**x}


def section(module: bytes, title: str) -> bytes:
    """The content of a custom section; raises `KeyError`."""
    reader = Reader(module, len(HEADER))
    while reader.at < len(module):
        number, content = reader.byte(), reader.bytes(reader.unsigned())
        inner = Reader(content)
        if number == 0 and inner.name() == title:
            return content[inner.at :]
    raise KeyError(title)


def unshared(module: bytes) -> bytes:
    """The module with a memory of the usual kind where it would share one: wasmtime's package cannot import such."""
    memory = name(HOST) + name("memory") + b"\2"
    return module.replace(memory + b"\3", memory + b"\1", 1)


class FailedCheckError(Exception):
    """A check of the network failed; the number of its complaint."""


class Instance:
    """A module that is ready to run in one thread; the functions that it imports come from Python's `math`."""

    def __init__(self, module: bytes) -> None:
        self.store = wasmtime.Store()
        compiled = wasmtime.Module(self.store.engine, unshared(module))
        imports = [self._import(str(each.module), str(each.name), each.type) for each in compiled.imports]
        self.instance = wasmtime.Instance(self.store, compiled, imports)
        self.exports = self.instance.exports(self.store)
        if INITIALISE in self.exports:
            self.call(INITIALISE)

    def _import(self, module: str, name: str, kind: object) -> wasmtime.Func | wasmtime.Memory:
        if isinstance(kind, wasmtime.MemoryType):
            pages = kind.limits.min
            return wasmtime.Memory(self.store, wasmtime.MemoryType(wasmtime.Limits(pages, pages)))
        assert isinstance(kind, wasmtime.FuncType)
        if module == HOSTS[SHARE]:
            return wasmtime.Func(self.store, kind, lambda step, most: self._deal(step, most))
        assert module == "math"
        assert name in FROM_HOST
        double = name if name in _HOST or hasattr(math, name) else name.removesuffix("f")
        return wasmtime.Func(self.store, kind, _HOST.get(double) or getattr(math, double))

    def _deal(self, step: int, most: int) -> None:
        """All chunks of a step, the last one first."""
        for chunk in reversed(range(most)):
            self.call(PART, step, chunk, most)

    def call(self, name: str, *arguments: int | float) -> int | float:
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func)
        result = function(self.store, *arguments)
        return result if isinstance(result, (int, float)) else 0

    @property
    def memory(self) -> wasmtime.Memory:
        memory = self.exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        return memory

    def read(self, address: int, dtype: str, count: int) -> Array:
        kind = NUMPY_DTYPES[dtype]
        address &= 0xFFFFFFFF
        return np.frombuffer(self.memory.read(self.store, address, address + kind.itemsize * count), kind)

    def write(self, address: int, values: Array) -> None:
        self.memory.write(self.store, values.tobytes(), address & 0xFFFFFFFF)


class WasmModel:
    """A network in an `Instance`; `weights` are what lies beside the module."""

    def __init__(self, module: bytes, weights: Array | None = None) -> None:
        self.manifest = json.loads(section(module, "sparsec"))
        self.instance = Instance(module)
        if weights is not None:
            self.instance.write(int(self.instance.call("weights")), weights)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        for number, spec in enumerate(self.manifest["inputs"]):
            feed = np.asarray(feeds[spec["name"]], NUMPY_DTYPES[spec["dtype"]], order="C")
            assert feed.shape == tuple(spec["shape"])
            self.instance.write(int(self.instance.call("input", number)), feed)
        failed = int(self.instance.call("run"))
        if failed:
            raise FailedCheckError(self.manifest["complaints"][failed - 1][1])
        return {
            spec["name"]: self.instance.read(
                int(self.instance.call("output", number)), spec["dtype"], spec["size"]
            ).reshape(spec["shape"])
            for number, spec in enumerate(self.manifest["outputs"])
        }


@dataclass(frozen=True, slots=True)
class Wasmtime:
    """The package wasmtime, which knows nothing of model.mjs."""

    def missing(self) -> str | None:
        return None

    def run(self, package: Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
        beside = package / "weights.bin"
        weights = np.frombuffer(beside.read_bytes(), np.uint8) if beside.exists() else None
        outputs = WasmModel((package / "model.wasm").read_bytes(), weights).run(feeds)
        return {name: value.reshape(-1) for name, value in outputs.items()}
