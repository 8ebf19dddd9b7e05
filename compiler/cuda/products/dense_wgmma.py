"""Dense products with many tokens on Hopper's tensor cores, and convolutions as such: how they are cut up and launched."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from ctypes import c_char, c_int
from dataclasses import dataclass

from sparsec.cuda.code import program
from sparsec.cuda.device.driver import Device, TensorMap
from sparsec.cuda.device.tensors import BFLOAT16
from sparsec.cuda.products.dense_operands import VECTOR, Epilogue, EpilogueArgument, Matrices
from sparsec.cuda.products.operands import Rows
from sparsec.kernels.problem import Axis

ARCHITECTURE = (9, 0)  # what there is a kernel for
STEP = 64  # columns of K in a place of shared memory
STAGES = 6  # at most
WARP_AREA_BYTES = 2304  # of shared memory for a warp's sums on their way out
BAND_BYTES = 16 << 20  # of X, that the L2 keeps
GROUPS = (2, 1)  # warpgroups that multiply, 64 tokens each
ROWS = (256, 192, 128, 64)  # of a tile
SPLITS = (1, 2, 4)  # blocks that have a tile of one warpgroup
_MOST_ROWS = 128  # of a tile that one warpgroup has
_LEAST_ROWS = 16  # that a block of several adds up
# Of an H100, measured: multiplications of a multiprocessor and bytes that it takes in, in a cycle, when both are asked of it;
# cycles for each row of a tile on its way out, when all multiprocessors write, and for what blocks add up.
_MULTIPLIED, _TAKEN_IN, _WRITTEN, _ADDED = 1860.0, 49.0, 30.0, 3000.0
_FARTHEST, _LONGEST_STEP, _LAST_OFFSET = 127, 8, 255  # of windows, pixels


@dataclass(frozen=True, slots=True)
class WideTiling:
    """Of a product: tiles of so many rows and of 64 tokens for each of `groups`, `stages` of 64 columns; all rows are done for
    `together` tiles of tokens before the next ones; `splits` blocks of threads share a tile."""

    rows: int
    stages: int
    together: int
    groups: int = 2
    splits: int = 1

    @property
    def tokens(self) -> int:
        """Of a tile."""
        return 64 * self.groups

    @property
    def stage_bytes(self) -> int:
        return (self.tokens + self.rows) * STEP * 2

    @property
    def shared_bytes(self) -> int:
        """Of a block of threads: stages with their barriers, results."""
        return self.stages * (self.stage_bytes + 16) + self.groups * 4 * WARP_AREA_BYTES


@dataclass(frozen=True, slots=True)
class Windows:
    """X as pixels of images [images, height, width, channels]: those of the windows of each pixel of y, one after the other."""

    address: int
    images: int
    channels: int
    axes: tuple[Axis, Axis]
    strides: tuple[int, int, int]  # elements, from an image, a row, a pixel to the next

    @property
    def tokens(self) -> int:
        """Pixels of y."""
        return self.images * self.axes[0].out * self.axes[1].out

    @property
    def k(self) -> int:
        return self.axes[0].kernel * self.axes[1].kernel * self.channels

    @property
    def fit(self) -> bool:
        """Whether boxes of pixels can be copied so."""
        even = self.address % 16 == 0 and not any(each % VECTOR for each in self.strides)
        return even and self.channels % STEP == 0 and all(map(_fits, self.axes))


def _fits(axis: Axis) -> bool:
    reach = (axis.kernel - 1) * axis.dilation
    near = axis.before <= _FARTHEST and abs(axis.after - reach) <= _FARTHEST
    return near and reach <= _LAST_OFFSET and axis.stride <= _LONGEST_STEP


class _Operands(ctypes.Structure):
    _fields_ = (
        ("x", TensorMap),
        ("w", TensorMap),
        ("out", EpilogueArgument),
        *((name, c_int) for name in ("row_tiles", "token_tiles", "together", "steps")),
        *((name, c_int) for name in ("chunks", "across", "apart_right", "apart_down", "out_width", "out_height")),
        *((name, c_int) for name in ("stride_right", "stride_down", "before_right", "before_down")),
        ("padding", c_char * 40),  # to a multiple of 64 bytes
    )


def launch(
    on: Device,
    dtype: str,
    m: int,
    x: Rows | Windows,
    w: Rows,
    y: Matrices,
    stream: int,
    epilogue: Epilogue,
    tiling: WideTiling | None = None,
) -> None:
    """Put y [tokens, m] = x w^T on a stream; rows of x and w begin at multiples of 16 bytes."""
    by = tiling or best_tiling(x.tokens, m, x.k, on.multiprocessors, on.shared_bytes)[0]
    row_tiles, token_tiles = -(-m // by.rows), -(-x.tokens // by.tokens)
    windows = isinstance(x, Windows)
    operands = _Operands(
        _window_map(on, x, by.tokens)
        if isinstance(x, Windows)
        else on.tensor_map(x.address, x.tokens, x.k, x.stride, (by.tokens, STEP)),
        on.tensor_map(w.address, m, x.k, w.stride, (by.rows, STEP)),
        epilogue.argument(y, x.tokens, m),
        *(row_tiles, token_tiles, min(by.together, token_tiles), -(-x.k // STEP)),
        *(_places(x) if isinstance(x, Windows) else ()),
    )
    macros = {"GROUPS": by.groups, "ROWS": by.rows, "STAGES": by.stages, "SPLITS": by.splits, "WINDOWS": int(windows)}
    macros |= {"BF16": int(dtype == BFLOAT16), "ACTIVATION": epilogue.activation}
    kernel = program.function(on, "dense_wgmma", macros, by.shared_bytes)
    blocks = by.splits * min(row_tiles * token_tiles, on.multiprocessors // by.splits)
    on.launch(kernel, (blocks, 1), 128 * (by.groups + 1), operands, stream)


def _window_map(on: Device, x: Windows, tokens: int) -> TensorMap:
    down, right = x.axes
    first, last = (
        (-down.before, -right.before),
        (down.after - (down.kernel - 1) * down.dilation, right.after - (right.kernel - 1) * right.dilation),
    )
    shape = x.images, down.size, right.size, x.channels
    return on.window_map(x.address, shape, x.strides, first, last, (down.stride, right.stride), (tokens, STEP))


def _places(x: Windows) -> tuple[int, ...]:
    """Of the pixels of windows."""
    down, right = x.axes
    inside = x.channels // STEP, right.kernel, right.dilation, down.dilation
    return (*inside, right.out, down.out, right.stride, down.stride, right.before, down.before)


@functools.lru_cache(maxsize=1024)
def best_tiling(tokens: int, m: int, k: int, workers: int, shared_bytes: int) -> tuple[WideTiling, float]:
    """The one that should take the fewest cycles on a GPU with so many multiprocessors, and how many."""
    return min(tilings(tokens, m, k, workers, shared_bytes), key=lambda each: each[1])


def tilings(tokens: int, m: int, k: int, workers: int, shared_bytes: int) -> Iterator[tuple[WideTiling, float]]:
    """Those that there are, and about how many cycles each takes."""
    steps = -(-k // STEP)
    for rows in ROWS:
        for groups in GROUPS if rows <= _MOST_ROWS else GROUPS[:1]:
            tile = WideTiling(rows, 0, 1, groups)
            stages = min(STAGES, (shared_bytes - tile.shared_bytes) // (tile.stage_bytes + 16))
            together = max(1, BAND_BYTES // (tile.tokens * max(1, k) * 2))
            tiles = -(-m // rows) * -(-tokens // tile.tokens)
            cycles = max(tile.tokens * rows * STEP / _MULTIPLIED, tile.stage_bytes / _TAKEN_IN)
            written = rows * groups * _WRITTEN / GROUPS[0]
            for splits in SPLITS:
                if splits == 1:
                    yield WideTiling(rows, stages, together, groups), -(-tiles // workers) * (steps * cycles + written)
                elif groups == 1 and tiles <= workers // splits and splits <= steps and _LEAST_ROWS * splits <= rows:
                    share = -(-steps // splits) * cycles + written / splits + _ADDED
                    yield WideTiling(rows, stages, together, groups, splits), share
