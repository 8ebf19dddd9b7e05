"""CUDA C++ to machine code by NVRTC, from its PyPI package: no toolkit and no GPU are needed."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path

from sparsec.errors import TargetError, ToolchainError

PACKAGE = "nvidia-cuda-nvrtc"


@functools.cache
def _library() -> ctypes.CDLL:
    for place in (*map(str, _places()), "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"):
        try:
            return ctypes.CDLL(place)
        except OSError:
            continue
    raise TargetError("There is no NVRTC, which compiles kernels for NVIDIA GPUs.", next_step=f"pip install {PACKAGE}")


def _places() -> Iterator[Path]:
    """Where the PyPI packages of NVRTC 13 and 12 put it."""
    found = importlib.util.find_spec("nvidia")
    pattern = "nvrtc64_*.dll" if sys.platform == "win32" else "libnvrtc.so.*"
    for folder in (found.submodule_search_locations or ()) if found else ():
        for inside in ("cu13/lib", "cu13/bin/x86_64", "cuda_nvrtc/lib", "cuda_nvrtc/bin"):
            yield from sorted(Path(folder, inside).glob(pattern))


def version() -> tuple[int, int]:
    """Of NVRTC; raises `TargetError` if there is none."""
    major, minor = c_int(), c_int()
    _library().nvrtcVersion(byref(major), byref(minor))
    return major.value, minor.value


def is_there() -> bool:
    """Whether there is one."""
    try:
        version()
    except TargetError:
        return False
    return True


def compile_source(source: str, name: str, options: Sequence[str]) -> bytes:
    """Machine code (or PTX, for an architecture `compute_*`) of a program; raises `ToolchainError` with its log."""
    library = _library()
    program = c_void_p()
    library.nvrtcCreateProgram(byref(program), source.encode(), name.encode(), 0, None, None)
    try:
        texts = (c_char_p * len(options))(*(option.encode() for option in options))
        if library.nvrtcCompileProgram(program, len(options), texts):
            log = _result(library, program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
            raise ToolchainError(f"NVRTC does not compile {name} with {' '.join(options)}.", got=log)
        virtual = any("compute_" in option for option in options)
        return _result(library, program, "PTX" if virtual else "CUBIN")
    finally:
        library.nvrtcDestroyProgram(byref(program))


def _result(library: ctypes.CDLL, program: c_void_p, what: str) -> bytes:
    size = c_size_t()
    getattr(library, f"nvrtcGet{what}Size")(program, byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{what}")(program, text)
    return text.raw
