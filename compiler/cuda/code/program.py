"""Kernels as loaded functions: compiled once for a device and a set of macros, kept on disk between runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from uuid import uuid4

from sparsec.cuda.code import nvrtc, wgmma
from sparsec.cuda.device.driver import Device, Function
from sparsec.environment import cache_folder

_WGMMA = {  # the instruction that a kernel is made of
    "nm24_wgmma": wgmma.sparse_product,
    "bsr_wgmma": wgmma.strip_product,
    "bsr_pairs_wgmma": wgmma.product,
    "dense_wgmma": wgmma.dense_product,
    "attention_wgmma": wgmma.attention_products,
    "coo_wgmma": wgmma.dense_product,
    "dense_mma": wgmma.tile_product,
    "conv_mma": wgmma.tile_product,
}
_ACTIVATION = ("special.cuh", "activation.cuh")
_DENSE = (*_ACTIVATION, "tensor_core.cuh", "widened.cuh", "epilogue.cuh")
_NM24 = (*_ACTIVATION, "warp_stream.cuh", "nm24_step.cuh")
_W4 = (*_ACTIVATION, "warp_stream.cuh", "four_bits.cuh")
HEADERS = {  # what a kernel is compiled with, if not as sparse streams or warpgroup products are
    "bitmap_mma": (*_ACTIVATION, "warp_stream.cuh", "lane_values.cuh"),
    "nm24_mma": (*_NM24, "equal_steps.cuh"),
    "nm24_tile_mma": _NM24,
    "dense_mma": (*_DENSE, "wgmma.cuh", "dense_tile.cuh"),
    "spmv": (*_ACTIVATION, "tensor_core.cuh", "widened.cuh"),
    "w4_nm24_mma": (*_W4, "equal_steps.cuh"),
    "w4_group_mma": _W4,
    "dense_few": _DENSE,
    "dense_wgmma": (*_ACTIVATION, "hopper.cuh", "widened.cuh", "epilogue.cuh"),
    "attention_mma": ("special.cuh", "tensor_core.cuh", "widened.cuh", "attention.cuh"),
    "attention_wgmma": ("special.cuh", "tensor_core.cuh", "widened.cuh", "wgmma.cuh", "attention.cuh"),
    "conv_mma": (*_DENSE, "wgmma.cuh", "dense_tile.cuh", "conv_input.cuh"),
    "max_pool": ("tensor_core.cuh", "widened.cuh"),
    "conv_depthwise": (*_DENSE, "conv_input.cuh"),
}


def function(on: Device, kernel: str, macros: Mapping[str, int], shared_bytes: int) -> Function:
    """The kernel in `kernel`.cu with these macros, loaded; raises `TargetError` or `ToolchainError`."""
    wanted = kernel, tuple(sorted(macros.items())), shared_bytes
    if wanted not in on.functions:
        image = on.images.get(key_of(kernel, macros, on.architecture)) or compiled(kernel, macros, on.architecture)
        on.functions[wanted] = on.load(image, kernel, shared_bytes)
    return on.functions[wanted]


def key_of(kernel: str, macros: Mapping[str, int], architecture: tuple[int, int]) -> str:
    """What names machine code by what it is made of, so that code of another version is never taken for it."""
    return hashlib.sha256("\0".join([_source(kernel, macros), *_options(macros, architecture)]).encode()).hexdigest()


def compiled(kernel: str, macros: Mapping[str, int], architecture: tuple[int, int]) -> bytes:
    """Machine code of a kernel, from the cache on disk or by NVRTC; needs no GPU."""
    key = hashlib.sha256(f"{key_of(kernel, macros, architecture)}\0{nvrtc.version()}".encode()).hexdigest()
    place = cache_folder() / "cuda" / f"{kernel}-{key[:32]}.cubin"
    try:
        return place.read_bytes()
    except OSError:
        image = nvrtc.compile_source(_source(kernel, macros), f"{kernel}.cu", _options(macros, architecture))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_suffix(f".{uuid4().hex}")  # several processes may write at once
        unfinished.write_bytes(image)
        unfinished.replace(place)
    except OSError:
        pass  # a cache that cannot be written to costs time only
    return image


def _options(macros: Mapping[str, int], architecture: tuple[int, int]) -> list[str]:
    own = "a" if architecture == (9, 0) else ""  # with the instructions that only this architecture has
    options = [f"--gpu-architecture=sm_{architecture[0]}{architecture[1]}{own}", "--std=c++17"]
    return options + [f"-D{name}={value}" for name, value in sorted(macros.items())]


def _source(kernel: str, macros: Mapping[str, int]) -> str:
    """The instruction that it is made of, what all kernels share, what those of its kind do, then its own."""
    here = files("sparsec.cuda.code")
    if kernel in HEADERS:
        shared = "".join((here / name).read_text() for name in HEADERS[kernel])
        instruction = _WGMMA[kernel](macros) if kernel in _WGMMA else ""
        return instruction + shared + (here / f"{kernel}.cu").read_text()
    activation, own = "".join((here / name).read_text() for name in _ACTIVATION), (here / f"{kernel}.cu").read_text()
    if kernel not in _WGMMA:
        return activation + (here / "warp_stream.cuh").read_text() + own
    return activation + (here / "hopper.cuh").read_text() + _WGMMA[kernel](macros) + own
