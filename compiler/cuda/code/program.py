"""Kernels as loaded functions: compiled once for a device and a set of macros, kept on disk between runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from sparsec.cuda.code import nvrtc
from sparsec.cuda.code.source import source_of
from sparsec.cuda.device.driver import Device, Function
from sparsec.environment import cache_folder
from sparsec.whole_file import whole_file


def function(on: Device, kernel: str, macros: Mapping[str, int], shared_bytes: int) -> Function:
    """The kernel in `kernel`.cu with these macros, loaded; raises `TargetError` or `ToolchainError`."""
    wanted = kernel, tuple(sorted(macros.items())), shared_bytes
    if wanted not in on.functions:
        image = on.images.get(key_of(kernel, macros, on.architecture)) or compiled(kernel, macros, on.architecture)
        on.functions[wanted] = on.load(image, kernel, shared_bytes)
    return on.functions[wanted]


def key_of(kernel: str, macros: Mapping[str, int], architecture: tuple[int, int]) -> str:
    """What names machine code by what it is made of, so that code of another version is never taken for it."""
    return hashlib.sha256("\0".join([source_of(kernel, macros), *_options(macros, architecture)]).encode()).hexdigest()


def compiled(kernel: str, macros: Mapping[str, int], architecture: tuple[int, int]) -> bytes:
    """Machine code of a kernel, from the cache on disk or by NVRTC; needs no GPU."""
    key = hashlib.sha256(f"{key_of(kernel, macros, architecture)}\0{nvrtc.version()}".encode()).hexdigest()
    place = cache_folder() / "cuda" / f"{kernel}-{key[:32]}.cubin"
    try:
        return place.read_bytes()
    except OSError:
        image = nvrtc.compile_source(source_of(kernel, macros), f"{kernel}.cu", _options(macros, architecture))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(place) as file:  # several processes may write at once
            file.write(image)
    except OSError:
        pass  # a cache that cannot be written to costs time only
    return image


def _options(macros: Mapping[str, int], architecture: tuple[int, int]) -> list[str]:
    own = "a" if architecture == (9, 0) else ""  # with the instructions that only this architecture has
    options = [f"--gpu-architecture=sm_{architecture[0]}{architecture[1]}{own}", "--std=c++17"]
    return options + [f"-D{name}={value}" for name, value in sorted(macros.items())]
