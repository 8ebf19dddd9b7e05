"""Dense products with few tokens, which cost the weight's bytes: how they are cut up and launched."""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_longlong, c_void_p
from dataclasses import dataclass

from sparsec.cuda.code import program
from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.memory import Memory
from sparsec.cuda.device.tensors import BFLOAT16
from sparsec.cuda.products.dense_operands import Epilogue, EpilogueArgument, Matrices
from sparsec.cuda.products.operands import Rows

MOST_TOKENS = 64
WARPS = 8  # of a block of threads
_TILE = 8  # tokens
_RESIDENT = 2  # blocks of threads that a multiprocessor has at once
_COLUMNS = 32 * WARPS  # that a block takes at once


@dataclass(frozen=True, slots=True)
class FewTiling:
    """Of a block of threads: `slabs` of 16 rows, `units` of 32 columns that a warp reads at once; parts of K."""

    slabs: int
    units: int
    parts: int

    @property
    def rows(self) -> int:
        return 16 * self.slabs

    def shared_bytes(self, tiles: int) -> int:
        """For sums of all warps, of so many tiles of tokens."""
        return WARPS * tiles * _TILE * (self.rows + 4) * 4


class _Operands(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("w", "x")),
        *((name, c_longlong) for name in ("w_stride", "x_stride")),
        ("out", EpilogueArgument),
        *((name, c_void_p) for name in ("partial", "counters")),
        *((name, c_int) for name in ("k", "parts")),
    )


def launch(
    on: Device,
    dtype: str,
    m: int,
    x: Rows,
    w: Rows,
    y: Matrices,
    memory: Memory,
    stream: int,
    epilogue: Epilogue,
    tiling: FewTiling | None = None,
) -> None:
    """Put y [tokens, m] = x w^T on a stream, for at most MOST_TOKENS tokens; rows of x and w begin at multiples of 16 bytes
    and k is a multiple of 8. `memory` is for sums of parts."""
    tiles = _tiles(x.tokens)
    by = tiling or few_tiling(x.tokens, m, x.k, on.multiprocessors)
    blocks = -(-m // by.rows)
    cut = by.parts > 1
    operands = _Operands(
        *(w.address, x.address, w.stride, x.stride),
        epilogue.argument(y, x.tokens, m),
        memory.scratch("dense sums", cut * blocks * by.parts * tiles * _TILE * by.rows * 4).address,
        memory.scratch("dense counters", cut * blocks * 4).address,
        *(x.k, by.parts),
    )
    macros = {"WARPS": WARPS, "SLABS": by.slabs, "UNITS": by.units, "TILES": tiles}
    macros |= {"BF16": int(dtype == BFLOAT16), "ACTIVATION": epilogue.activation}
    kernel = program.function(on, "dense_few", macros, by.shared_bytes(tiles))
    on.launch(kernel, (blocks, by.parts), 32 * WARPS, operands, stream)


def few_tiling(tokens: int, m: int, k: int, workers: int) -> FewTiling:
    """Enough blocks for all multiprocessors; with more tokens more rows, so that X is read less often."""
    slabs = 1 if tokens <= 16 else 2
    units = 4 if tokens <= 16 else 2
    blocks = -(-m // (16 * slabs))
    parts = max(1, min(_RESIDENT * workers // blocks, k // (_COLUMNS * units)))
    return FewTiling(slabs, units, parts)


def _tiles(tokens: int) -> int:
    """A power of two, so that there are few kernels."""
    return 1 << (-(-tokens // _TILE) - 1).bit_length()
