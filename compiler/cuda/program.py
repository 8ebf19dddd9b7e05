"""Kernels of this folder as loaded functions: compiled once for a device and a set of macros, kept on disk between runs."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from uuid import uuid4

from sparsec.cuda import nvrtc, wgmma
from sparsec.cuda.driver import Device, Function, device
from sparsec.environment import cache_folder

_WGMMA = {"nm24_wgmma": wgmma.sparse_product, "bsr_wgmma": wgmma.product}  # the instruction that a kernel is made of


def function(on: Device, kernel: str, macros: Mapping[str, int], shared_bytes: int) -> Function:
    """The kernel in `kernel`.cu with these macros, loaded; raises `TargetError` or `ToolchainError`."""
    return _loaded(on.index, kernel, tuple(sorted(macros.items())), shared_bytes)


@functools.cache
def _loaded(index: int, kernel: str, macros: tuple[tuple[str, int], ...], shared_bytes: int) -> Function:
    on = device(index)
    return on.load(compiled(kernel, dict(macros), on.architecture), kernel, shared_bytes)


def compiled(kernel: str, macros: Mapping[str, int], architecture: tuple[int, int]) -> bytes:
    """Machine code of a kernel, from the cache on disk or by NVRTC; needs no GPU."""
    own = "a" if architecture == (9, 0) else ""  # with the instructions that only this architecture has
    options = [f"--gpu-architecture=sm_{architecture[0]}{architecture[1]}{own}", "--std=c++17"]
    options += [f"-D{name}={value}" for name, value in sorted(macros.items())]
    source = _source(kernel, macros)
    key = hashlib.sha256("\0".join([source, *options, str(nvrtc.version())]).encode()).hexdigest()
    place = cache_folder() / "cuda" / f"{kernel}-{key[:32]}.cubin"
    try:
        return place.read_bytes()
    except OSError:
        image = nvrtc.compile_source(source, f"{kernel}.cu", options)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_suffix(f".{uuid4().hex}")  # several processes may write at once
        unfinished.write_bytes(image)
        unfinished.replace(place)
    except OSError:
        pass  # a cache that cannot be written to costs time only
    return image


def _source(kernel: str, macros: Mapping[str, int]) -> str:
    """What all kernels share, what those of its kind do, then its own."""
    here = files("sparsec.cuda")
    activation, own = (here / "activation.cuh").read_text(), (here / f"{kernel}.cu").read_text()
    if kernel not in _WGMMA:
        return activation + (here / "warp_stream.cuh").read_text() + own
    return activation + (here / "hopper.cuh").read_text() + _WGMMA[kernel](macros) + own
