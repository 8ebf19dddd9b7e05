"""Unstructured weights for few tokens: how products are cut up and launched."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from ctypes import c_int, c_longlong, c_void_p

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.code.program import function
from sparsec.cuda.device import tensors
from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.memory import Memory
from sparsec.cuda.device.tensors import BFLOAT16
from sparsec.cuda.products.device_cost import Target
from sparsec.cuda.products.operands import Results, Rows
from sparsec.cuda.streams.spmv_streams import LANES, SpmvStreams
from sparsec.errors import TargetError

AHEAD = {32: 1, 16: 3}  # steps of a warp that are on their way, for so many warps of a worker, as registers allow
WORKERS = 240  # as many as parameters of a kernel have room for
TOKENS = (1, 2, 4, 8)  # that one launch does
COLUMN_BYTES = {1: 4, 2: 4, 4: 8, 8: 16}  # of X in shared memory, for so many tokens


class _Operands(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("steps", "starts", "segments", "rows")),
        *((name, c_void_p) for name in ("x", "y", "bias", "residual", "partial", "counters")),
        *((name, c_longlong) for name in ("x_stride", "y_stride", "residual_stride")),
        *((name, c_int) for name in ("m", "k", "tokens", "unused")),
        ("workers", c_int * (4 * WORKERS)),
    )


class SpmvWeight:
    """A matrix W [m, k] of float16 or bfloat16 on one GPU.

    Products with one weight must be in one order (one stream, or streams that wait): they share the weight's counters.
    """

    def __init__(self, streams: SpmvStreams, dtype: str, on: Device) -> None:
        self.streams = streams
        self.dtype = dtype
        self.device = on
        self._memory = Memory(self, on)
        arrays = (streams.units, streams.starts, streams.line.segments, streams.rows)
        self._arrays = [self._memory.upload(each) for each in arrays]
        self._counters = self._memory.upload(np.zeros(len(streams.rows), np.uint32))
        workers = np.zeros((WORKERS, 4), dtype=np.int32)
        workers[: len(streams.line.workers)] = streams.line.workers
        self._workers = (c_int * workers.size).from_buffer_copy(workers.tobytes())

    @property
    def shape(self) -> tuple[int, int]:
        return self.streams.m, self.streams.k

    def launch(self, caller: object, x: Rows, y: Results, stream: int) -> None:
        """Put a product on a stream, eight tokens after eight; `caller` says whose memory sums are in."""
        most = most_tokens(self.streams.columns, self.device.shared_bytes)
        for first in range(0, x.tokens, most):
            self._launch(caller, x.part(first, most), y.part(first), stream)

    def _launch(self, caller: object, x: Rows, y: Results, stream: int) -> None:
        tokens = next(each for each in TOKENS if x.tokens <= each)
        line = self.streams.line
        own = {"BITS": self.streams.bits, "BF16": int(self.dtype == BFLOAT16), "ACTIVATION": y.activation}
        own |= macros(tokens, line.warps)
        kernel = function(self.device, "spmv", own, shared_bytes(self.streams.columns, tokens))
        nbytes = len(line.segments) * tokens * LANES * 4
        with tensors.scratch(caller, self.device, nbytes, stream) as partial:
            operands = _Operands(
                *(each.address for each in self._arrays),
                *(x.address, y.address, y.bias, y.residual, partial, self._counters.address),
                *(x.stride, y.stride, y.residual_stride, y.m, x.k, x.tokens, 0, self._workers),
            )
            self.device.launch(kernel, (len(line.workers), 1), 32 * line.warps, operands, stream)


def encoded(bits: NDArray[np.uint16], on: Target, *, ordered: bool) -> SpmvStreams:
    """What is copied to such a GPU of a matrix [m, k] given as its bits, its nonzeros ordered by banks or not."""
    workers = min(on.multiprocessors, WORKERS)
    return SpmvStreams.encode(bits, workers, most_columns(on.shared_bytes), ordered=ordered)


def macros(tokens: int, warps: int) -> Mapping[str, int]:
    """What the kernel is to be compiled with for so many tokens."""
    return {"TOKENS": tokens, "WARPS": warps, "AHEAD": AHEAD[warps], "WORKERS": WORKERS}


def shared_bytes(columns: int, tokens: int) -> int:
    """Of a block of threads, for so many columns of X."""
    return (columns + 1) // 2 * 2 * COLUMN_BYTES[tokens]  # they are copied two at a time


def fits(k: int, available: int) -> bool:
    """Whether there is shared memory for all of one token, so that there is whatever columns a worker needs."""
    return shared_bytes(k + 2, 1) <= available


def most_columns(available: int) -> int:
    """Of X, that there is shared memory for with as many tokens as one launch does."""
    return available // COLUMN_BYTES[TOKENS[-1]] - 1


def most_tokens(columns: int, available: int) -> int:
    """That one launch does; raises `TargetError` if there is no room for one."""
    fitting = [each for each in TOKENS if shared_bytes(columns, each) <= available]
    if not fitting:
        raise TargetError(
            "This weight needs more shared memory than the GPU has.",
            expected=f"at most {available} bytes in a block",
            got=f"{shared_bytes(columns, 1)} bytes",
        )
    return fitting[-1]
