"""2:4 weights for many tokens, on Hopper's sparse tensor cores: how products are cut up and launched."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from ctypes import c_char, c_int, c_void_p
from dataclasses import dataclass

from sparsec.cuda.code.program import function
from sparsec.cuda.device.driver import Device, TensorMap
from sparsec.cuda.device.memory import Memory
from sparsec.cuda.device.tensors import BFLOAT16
from sparsec.cuda.products.device_cost import HOPPER_SHARED_BYTES
from sparsec.cuda.products.operands import Output, Results, Rows
from sparsec.cuda.streams.factors import Factors
from sparsec.cuda.streams.nm24_tiles import ROW_BYTES, ROWS, Nm24Tiles, block_bytes

ARCHITECTURE = (9, 0)  # what there is a kernel for
AREA_BYTES = 8192  # of shared memory for a warpgroup's results on their way out
# What there is code for, see `Tiling`: groups, blocks, tokens, cluster; and measured time as a share of the model's.
TILES = {
    (2, 1, 256, 2): 1.36,
    **{(3, 1, tokens, 1): 1.33 for tokens in (128, 160, 176, 192)},
    **{(2, 1, tokens, 1): 1.28 for tokens in (160, 176, 192)},
    **{(2, 1, tokens, 1): 1.18 for tokens in (208, 224)},
    (2, 1, 256, 1): 1.08,
    (2, 2, 128, 1): 1.53,
    (2, 1, 128, 1): 1.20,
    (1, 1, 128, 1): 0.90,
    (2, 1, 64, 1): 1.30,
    (1, 1, 64, 1): 1.17,
    (1, 1, 32, 1): 1.17,
}
_NARROWEST = 32  # of their widths, in tokens
SPLITS = (1, 2, 3, 4, 6, 8, 12, 16)
STAGES = 20  # at most
_TOGETHER = 8  # tiles of tokens: with so many, clusters at work at the same time read the least of W and X from memory
SMALL_BYTES, LARGE_BYTES = 64 << 20, 128 << 20  # of W: what the L2 keeps most of, and what it keeps little of

# Of an H100, measured: the bytes a cycle that a multiprocessor takes in, those of them from memory, alone and when all do;
# cycles around a tile for each of its tokens, around parts, and of a product by clusters until its blocks have met; bytes of sums
# that are written or added up in a cycle.
_TAKEN_IN, _ALONE, _FROM_MEMORY = 54.0, 20.0, 14.0
_AROUND_TILE, _AROUND_PARTS, _AROUND_CLUSTERS, _ADDED_UP = 24.0, 1000.0, 5600.0, 12.0
_LAUNCH, _CYCLES_OF_A_MICROSECOND = 3.3, 1880.0  # at the clock that its power allows


@dataclass(frozen=True, slots=True)
class Tiling:
    """Of a product: a block of threads has tiles of 64 x `groups` x `blocks` rows and `tokens` tokens, and so many `stages` of
    128 bytes of X's rows in shared memory, whose elements have `size` bytes; `cluster` blocks have tiles with the same tokens,
    which count as one here. Tiles past the first `whole` are done in `split` parts of K. All rows are done for `together`
    tiles of tokens before the next ones; if `aligned`, multiprocessors begin with tiles at the same time."""

    groups: int
    blocks: int
    tokens: int
    stages: int
    whole: int
    split: int
    together: int
    aligned: bool = False
    size: int = 2
    cluster: int = 1

    @property
    def rows(self) -> int:
        """Of a tile, or those of a cluster."""
        return ROWS * self.groups * self.blocks * self.cluster

    @property
    def stage_bytes(self) -> int:
        """Shared memory of a stage."""
        return self.tokens * ROW_BYTES + self.groups * self.blocks * block_bytes(self.size)

    @property
    def shared_bytes(self) -> int:
        """Of a block of threads: stages with their barriers, results."""
        return self.stages * (self.stage_bytes + 16) + self.groups * AREA_BYTES


class _Operands(ctypes.Structure):
    _fields_ = (
        ("x", TensorMap),
        ("out", Output),
        *((name, c_void_p) for name in ("blocks", "partial", "counters")),
        *((name, c_int) for name in ("row_blocks", "steps", "x_bytes", "row_tiles", "token_tiles", "together")),
        *((name, c_int) for name in ("whole", "split")),
        ("begun", c_void_p),
        ("padding", c_char * 56),  # to a multiple of 64 bytes
    )


class Nm24Wgmma:
    """A 2:4 matrix W [m, k] on one GPU, in blocks of 64 rows; results are float16 or bfloat16 (`dtype`)."""

    def __init__(self, tiles: Nm24Tiles, dtype: str, on: Device, factors: Factors | None = None) -> None:
        self.tiles = tiles
        self.dtype = dtype
        self.factors = factors or Factors(dtype)
        self.device = on
        self._memory = Memory(self, on)
        self._blocks = self._memory.upload(tiles.blocks)
        self.scales = None if self.factors.scales is None else self._memory.upload(self.factors.scales)

    @property
    def shape(self) -> tuple[int, int]:
        return self.tiles.m, self.tiles.k

    def launch(self, x: Rows, y: Results, stream: int, tiling: Tiling | None = None) -> None:
        """Put a product on a stream."""
        tiles = self.tiles
        on = self.device
        by = tiling or best_tiling(x.tokens, tiles.m, tiles.k, on.multiprocessors, on.shared_bytes, tiles.size)
        row_tiles, token_tiles = -(-tiles.m // by.rows), -(-x.tokens // by.tokens)
        cut = row_tiles * token_tiles - by.whole
        slots = cut * by.rows // ROWS if by.split > 1 else 0
        blocks = by.cluster * min(by.whole + cut * by.split, on.multiprocessors // by.cluster)
        box = min(x.tokens, by.tokens // by.cluster)  # tokens that a block copies
        operands = _Operands(
            self.device.tensor_map(x.address, x.tokens, x.k, x.stride, (box, ROW_BYTES // 2)),
            y.output(x.tokens, self.scales.address if self.scales else 0),
            self._blocks.address,
            self._memory.scratch("sums", slots * by.split * ROWS * by.tokens * 4).address,
            self._memory.scratch("counters", slots * 4).address,
            *(len(tiles.blocks), tiles.steps, by.cluster * box * ROW_BYTES),
            *(row_tiles, token_tiles, by.together, by.whole, by.split),
            self._memory.scratch(f"begun by {blocks}", 4).address if by.aligned else None,
        )
        macros = {"GROUPS": by.groups, "MT": by.blocks, "TOKENS": by.tokens, "STAGES": by.stages, "CLUSTER": by.cluster}
        macros |= {"BF16": int(self.dtype == BFLOAT16), "ACTIVATION": y.activation, "KIND": self.factors.kind}
        kernel = function(self.device, "nm24_wgmma", macros, by.shared_bytes)
        self.device.launch(kernel, (blocks, 1), 128 * (by.groups + 1), operands, stream)


def best_tiling(tokens: int, m: int, k: int, workers: int, shared_bytes: int, size: int = 2) -> Tiling:
    """The one that should take the fewest cycles on a GPU with so many multiprocessors and so much shared memory."""
    return _best(tokens, m, k, workers, shared_bytes, size)[0]


def microseconds(tokens: int, m: int, k: int, workers: int, size: int = 2) -> float:
    """About how long a product with a matrix [m, k], of elements of so many bytes, takes on Hopper."""
    _, cycles = _best(tokens, m, k, workers, HOPPER_SHARED_BYTES, size)
    return _LAUNCH + cycles / _CYCLES_OF_A_MICROSECOND


@functools.lru_cache(maxsize=1024)
def _best(tokens: int, m: int, k: int, workers: int, shared_bytes: int, size: int) -> tuple[Tiling, float]:
    return min(tilings(tokens, m, k, workers, shared_bytes, size), key=lambda each: each[1])


def tilings(
    tokens: int, m: int, k: int, workers: int, shared_bytes: int, size: int = 2
) -> Iterator[tuple[Tiling, float]]:
    """Those that there are for elements of so many bytes, and about how many cycles each takes."""
    steps = -(-k * size // ROW_BYTES)
    w_bytes = -(-m // ROWS) * steps * block_bytes(size)
    for (groups, blocks, width, cluster), share in TILES.items():
        fits = tokens <= width if width == _NARROWEST else width < 2 * tokens
        if not fits or workers < cluster:
            continue
        tile = Tiling(groups, blocks, width, 0, 0, 1, 1, size=size, cluster=cluster)
        stages = min(STAGES, (shared_bytes - tile.shared_bytes) // (tile.stage_bytes + 16))
        row_tiles, token_tiles = -(-m // tile.rows), -(-tokens // width)
        count, clusters = row_tiles * token_tiles, workers // cluster
        together = min(token_tiles, _together(width * k * size, w_bytes, cluster))
        at_once = max(together, min(token_tiles, clusters // row_tiles))  # tiles of tokens that share what is read of W
        own_bytes = groups * blocks * block_bytes(size)
        # The instruction reads all of X and its part of W from shared memory, 128 bytes a cycle.
        computed = groups * blocks * 2 * (width / 2 + 16)
        taken_in = (width * ROW_BYTES / cluster + own_bytes) / _TAKEN_IN
        for split in (each for each in SPLITS if each <= steps):
            whole = count if split == 1 else count // clusters * clusters
            parts = -(-(count - whole) * split // clusters) / split
            waves = -(-whole // clusters) + parts
            rounds = -(-whole // clusters) + parts * split
            sums = tile.rows // cluster * width
            added = 0.0 if split == 1 else parts * split * (_AROUND_PARTS + 2 * sums * 4 / _ADDED_UP)
            active = cluster * min(whole + (count - whole) * split, clusters)
            from_memory = own_bytes / at_once / min(_ALONE, _FROM_MEMORY * workers / active)
            cycles = steps * max(computed, taken_in, from_memory)
            cost = share * (waves * cycles + rounds * width * _AROUND_TILE) + added + (cluster > 1) * _AROUND_CLUSTERS
            if stages >= 2:
                aligned = token_tiles > 1 and whole > 2 * clusters and w_bytes > LARGE_BYTES
                yield Tiling(groups, blocks, width, stages, whole, split, together, aligned, size, cluster), cost


def _together(x_bytes: int, w_bytes: int, cluster: int) -> int:
    """How many tiles of tokens, each of so many bytes of X, to do for all rows of W before the next ones, as measured."""
    if w_bytes > LARGE_BYTES and cluster > 1:
        return _TOGETHER
    if w_bytes > LARGE_BYTES:
        return -(-(16 << 20) // x_bytes)
    return max(1, round((9 << 20 if w_bytes < SMALL_BYTES else 4 << 20) / x_bytes))
