"""Dense products with many tokens on Hopper's tensor cores: how they are cut up and launched."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from ctypes import c_char, c_int
from dataclasses import dataclass

from sparsec.cuda.code import program
from sparsec.cuda.device.driver import Device, TensorMap
from sparsec.cuda.device.tensors import BFLOAT16
from sparsec.cuda.products.dense_operands import Epilogue, EpilogueArgument, Matrices
from sparsec.cuda.products.operands import Rows

ARCHITECTURE = (9, 0)  # what there is a kernel for
STEP = 64  # columns of K in a place of shared memory
GROUPS = 2  # warpgroups that multiply, 64 tokens each
STAGES = 6  # at most
WARP_AREA_BYTES = 2304  # of shared memory for a warp's sums on their way out
BAND_BYTES = 16 << 20  # of X, that the L2 keeps
ROWS = (256, 192, 128, 64)  # of a tile
# Of an H100, measured: multiplications of a multiprocessor and bytes that it takes in, in a cycle, when both are asked of it;
# cycles for each row of a tile on its way out, when all multiprocessors write.
_MULTIPLIED, _TAKEN_IN, _WRITTEN = 1860.0, 49.0, 45.0


@dataclass(frozen=True, slots=True)
class WideTiling:
    """Of a product: tiles of so many rows, `stages` of 64 columns; all rows are done for `together` tiles of tokens before
    the next ones."""

    rows: int
    stages: int
    together: int

    @property
    def tokens(self) -> int:
        """Of a tile."""
        return 64 * GROUPS

    @property
    def stage_bytes(self) -> int:
        return (self.tokens + self.rows) * STEP * 2

    @property
    def shared_bytes(self) -> int:
        """Of a block of threads: stages with their barriers, results."""
        return self.stages * (self.stage_bytes + 16) + GROUPS * 4 * WARP_AREA_BYTES


class _Operands(ctypes.Structure):
    _fields_ = (
        ("x", TensorMap),
        ("w", TensorMap),
        ("out", EpilogueArgument),
        *((name, c_int) for name in ("row_tiles", "token_tiles", "together", "steps")),
        ("padding", c_char * 16),  # to a multiple of 64 bytes
    )


def launch(
    on: Device,
    dtype: str,
    m: int,
    x: Rows,
    w: Rows,
    y: Matrices,
    stream: int,
    epilogue: Epilogue,
    tiling: WideTiling | None = None,
) -> None:
    """Put y [tokens, m] = x w^T on a stream; rows of x and w begin at multiples of 16 bytes."""
    by = tiling or best_tiling(x.tokens, m, x.k, on.multiprocessors, on.shared_bytes)[0]
    row_tiles, token_tiles = -(-m // by.rows), -(-x.tokens // by.tokens)
    operands = _Operands(
        on.tensor_map(x.address, x.tokens, x.k, x.stride, (by.tokens, STEP)),
        on.tensor_map(w.address, m, x.k, w.stride, (by.rows, STEP)),
        epilogue.argument(y, x.tokens, m),
        *(row_tiles, token_tiles, min(by.together, token_tiles), -(-x.k // STEP)),
    )
    macros = {"GROUPS": GROUPS, "ROWS": by.rows, "STAGES": by.stages}
    macros |= {"BF16": int(dtype == BFLOAT16), "ACTIVATION": epilogue.activation}
    kernel = program.function(on, "dense_wgmma", macros, by.shared_bytes)
    on.launch(kernel, (min(row_tiles * token_tiles, on.multiprocessors), 1), 128 * (GROUPS + 1), operands, stream)


@functools.lru_cache(maxsize=1024)
def best_tiling(tokens: int, m: int, k: int, workers: int, shared_bytes: int) -> tuple[WideTiling, float]:
    """The one that should take the fewest cycles on a GPU with so many multiprocessors, and how many."""
    return min(tilings(tokens, m, k, workers, shared_bytes), key=lambda each: each[1])


def tilings(tokens: int, m: int, k: int, workers: int, shared_bytes: int) -> Iterator[tuple[WideTiling, float]]:
    """Those that there are, and about how many cycles each takes."""
    steps = -(-k // STEP)
    for rows in ROWS:
        tile = WideTiling(rows, 0, 1)
        stages = min(STAGES, (shared_bytes - tile.shared_bytes) // (tile.stage_bytes + 16))
        together = max(1, BAND_BYTES // (tile.tokens * max(1, k) * 2))
        waves = -(-(-(-m // rows) * -(-tokens // tile.tokens)) // workers)
        cycles = max(tile.tokens * rows * STEP / _MULTIPLIED, tile.stage_bytes / _TAKEN_IN)
        yield WideTiling(rows, stages, together), waves * (steps * cycles + rows * _WRITTEN)
