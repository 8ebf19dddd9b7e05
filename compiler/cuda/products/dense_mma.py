"""Dense products, and batches of them, on tensor cores of any supported GPU: how they are cut up and launched."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator, Mapping
from ctypes import c_int
from dataclasses import dataclass

from sparsec.cuda.code import program
from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.tensors import BFLOAT16
from sparsec.cuda.products.dense_operands import Epilogue, EpilogueArgument, Matrices, MatrixArgument

STEP = 64  # columns of K in a place of shared memory
BAND_BYTES = 8 << 20  # of X, that the L2 keeps


@dataclass(frozen=True, slots=True)
class TileShape:
    """Tokens and rows of a block of threads, its warps along both, and places in shared memory.

    With `wgmma`, which sm_90a has, four warps are together, have 16 tokens each, and all rows.
    """

    tokens: int
    rows: int
    warps_t: int
    warps_r: int
    stages: int
    wgmma: bool = False

    @property
    def threads(self) -> int:
        return 32 * self.warps_t * self.warps_r

    @property
    def pieces(self) -> int:
        """Of 16 bytes, that a thread has of each operand in a place, at most."""
        return max(self.tokens, self.rows) * STEP // 8 // self.threads

    @property
    def macros(self) -> dict[str, int]:
        return {
            "TOKENS": self.tokens,
            "ROWS": self.rows,
            "WARPS_T": self.warps_t,
            "WARPS_R": self.warps_r,
            "STAGES": self.stages,
            "WGMMA": int(self.wgmma),
        }

    def shared_bytes(self, *, x_lines: bool = False, w_lines: bool = False) -> int:
        """Of the stages; those whose neighbours are lines are in slabs of 64 lines. Sums on their way out take no more."""
        x = -(-self.tokens // 64) * 64 if x_lines else self.tokens
        w = -(-self.rows // 64) * 64 if w_lines else self.rows
        return self.stages * (x + w) * STEP * 2


@dataclass(frozen=True, slots=True)
class Speed:
    """Cycles of a multiprocessor for 1024 multiplications, and how many blocks of threads it has at once."""

    cycles: float
    resident: int


# What there is code for; speeds on Hopper are measured.
SHAPES: Mapping[TileShape, Speed] = {
    TileShape(128, 256, 2, 4, 3): Speed(1.4, 1),
    TileShape(128, 128, 2, 2, 3): Speed(1.5, 2),
    TileShape(128, 64, 2, 2, 4): Speed(1.7, 2),
    TileShape(64, 128, 2, 2, 4): Speed(1.7, 2),
    TileShape(64, 64, 2, 2, 4): Speed(1.9, 3),
    TileShape(32, 64, 1, 4, 4): Speed(2.8, 3),
}
HOPPER_SHAPES: Mapping[TileShape, Speed] = {
    TileShape(128, 256, 8, 1, 4, wgmma=True): Speed(0.95, 1),
    TileShape(128, 128, 8, 1, 3, wgmma=True): Speed(1.2, 2),
    TileShape(128, 128, 8, 1, 6, wgmma=True): Speed(1.2, 1),
    TileShape(128, 64, 8, 1, 4, wgmma=True): Speed(1.2, 2),
    TileShape(64, 64, 4, 1, 4, wgmma=True): Speed(1.45, 3),
}
HOPPER = (9, 0)
_LATENCY = 1700.0  # cycles from the copy of a step to its product
_AROUND_TILE, _WRITTEN = 500.0, 0.25  # cycles, and cycles for each sum that is written
NARROW = 4  # pieces of a thread, at most, where elements are read one by one


class _Operands(ctypes.Structure):
    _fields_ = (
        ("x", MatrixArgument),
        ("w", MatrixArgument),
        ("out", EpilogueArgument),
        *((name, c_int) for name in ("row_tiles", "token_tiles", "together", "k", "inner")),
    )


@dataclass(frozen=True, slots=True)
class DenseSizes:
    """Of a product y [tokens, m] = x [tokens, k] w [m, k]^T, for each of a batch with an outer and an inner axis."""

    tokens: int
    m: int
    k: int
    outer: int = 1
    inner: int = 1


def launch(
    on: Device,
    dtype: str,
    sizes: DenseSizes,
    x: Matrices,
    w: Matrices,
    y: Matrices,
    stream: int,
    *,
    epilogue: Epilogue | None = None,
    shape: TileShape | None = None,
) -> None:
    """Put a batch of products on a stream; y is not transposed."""
    after = epilogue or Epilogue()
    batch = sizes.outer * sizes.inner
    if not batch * sizes.tokens * sizes.m:
        return
    by = shape or best_shape(sizes, on, narrow=not (x.wide and w.wide))
    row_tiles, token_tiles = -(-sizes.m // by.rows), -(-sizes.tokens // by.tokens)
    together = max(1, min(token_tiles, BAND_BYTES // (by.tokens * max(1, sizes.k) * 2)))
    operands = _Operands(
        *(x.argument, w.argument, after.argument(y, sizes.tokens, sizes.m)),
        *(row_tiles, token_tiles, together, sizes.k, sizes.inner),
    )
    macros = by.macros | {"X_LINES": int(x.transposed), "W_LINES": int(w.transposed)}
    macros |= {"X_WIDE": int(x.wide), "W_WIDE": int(w.wide)}
    macros |= {"BF16": int(dtype == BFLOAT16), "ACTIVATION": after.activation}
    shared_bytes = by.shared_bytes(x_lines=x.transposed, w_lines=w.transposed)
    kernel = program.function(on, "dense_mma", macros, shared_bytes)
    on.launch(kernel, (batch * row_tiles * token_tiles, 1), by.threads, operands, stream)


def best_shape(sizes: DenseSizes, on: Device, *, narrow: bool = False) -> TileShape:
    """The one that should take the fewest cycles on a GPU; `narrow` if elements are read one by one, which needs
    registers."""
    return _best(sizes, on.multiprocessors, on.shared_bytes, on.architecture == HOPPER, narrow)


@functools.lru_cache(maxsize=1024)
def _best(sizes: DenseSizes, workers: int, shared_bytes: int, hopper: bool, narrow: bool) -> TileShape:
    found = shapes(sizes, workers, shared_bytes, hopper=hopper)
    return min((each for each in found if not narrow or each[0].pieces <= NARROW), key=lambda each: each[1])[0]


def shapes(sizes: DenseSizes, workers: int, shared_bytes: int, *, hopper: bool) -> Iterator[tuple[TileShape, float]]:
    """Those that there is memory for, and about how many cycles each takes."""
    for shape, speed in (HOPPER_SHAPES if hopper else SHAPES).items():
        if shape.shared_bytes(x_lines=True, w_lines=True) > shared_bytes:
            continue
        tiles = sizes.outer * sizes.inner * -(-sizes.m // shape.rows) * -(-sizes.tokens // shape.tokens)
        yield shape, _cycles(shape, speed, -(-tiles // workers), -(-sizes.k // STEP))


def _cycles(shape: TileShape, speed: Speed, tiles: int, steps: int) -> float:
    """Of a multiprocessor that has so many tiles, some of them at once: steps wait for their copies or for products."""
    ahead = shape.stages - (2 if shape.wgmma else 1)
    sums = shape.rows * shape.tokens
    rounds = [speed.resident] * (tiles // speed.resident) + [tiles % speed.resident]
    multiplied = sum(max(each * sums * STEP / 1024 * speed.cycles, _LATENCY / ahead) for each in rounds if each)
    return steps * multiplied + tiles * (_AROUND_TILE + sums * _WRITTEN)
