"""A sparse weight as streams that warps read: how its products are cut up, and what it is for few tokens and for many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np

from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.memory import Memory
from sparsec.cuda.device.tensors import BFLOAT16, FLOAT8
from sparsec.cuda.products import nm24_wgmma, spmv
from sparsec.cuda.products.device_cost import CERTAIN, sparse_microseconds
from sparsec.cuda.products.nm24_wgmma import Nm24Wgmma
from sparsec.cuda.products.spmv import SpmvWeight
from sparsec.cuda.streams.coo_streams import CooStreams
from sparsec.cuda.streams.factors import Factors
from sparsec.cuda.streams.lane_streams import LaneStreams
from sparsec.cuda.streams.nm24_byte_streams import Nm24ByteStreams
from sparsec.cuda.streams.nm24_streams import Nm24Streams
from sparsec.cuda.streams.nm24_tiles import Nm24Tiles
from sparsec.cuda.streams.partition import WARPS
from sparsec.cuda.streams.w4_group_streams import W4GroupStreams
from sparsec.cuda.streams.w4_nm24_streams import W4Nm24Streams
from sparsec.errors import TargetError

Streams: TypeAlias = LaneStreams | CooStreams | Nm24Streams | Nm24ByteStreams | W4Nm24Streams | W4GroupStreams

FEW = 32  # tokens, up to which streams are the fastest for 2:4
FEW_FLOAT8 = 8  # the same of float8, which Hopper has no instruction for but those of warpgroups
TILES = (1, 2, 4, 8)  # of 8 tokens, that a warp can have sums for
MOST_TOKENS = 128  # that one launch does
COLUMNS = (256, 128)  # of a tile of X, the best first
DEPTHS = ((4, 4), (3, 4), (4, 3), (3, 3), (2, 4), (2, 3), (2, 2))  # steps of W and tiles of X in shared memory


@dataclass(frozen=True, slots=True)
class Tiling:
    """Of a product: `tiles` of 8 tokens that a block of threads does, in so many rows of blocks; so many `steps` of W
    and `stages` of X, tiles of so many `columns`, are in shared memory, with `slots` for values in each warp."""

    tiles: int
    rows: int
    steps: int
    stages: int
    columns: int
    slots: int
    shared_bytes: int

    @property
    def macros(self) -> Mapping[str, int]:
        """What a kernel is to be compiled with for it."""
        return {"TILES": self.tiles, "STEPS": self.steps, "STAGES": self.stages, "COLUMNS": self.columns}


class SparseWeight:
    """A matrix W [m, k] on one GPU, for `matmul`, whose results are float16 or bfloat16 (`dtype`).

    Products with one weight must be in one order (one stream, or streams that wait): they share the weight's counters.
    """

    def __init__(self, streams: Streams, dtype: str, on: Device, factors: Factors | None = None) -> None:
        self.streams = streams
        self.dtype = dtype
        self.factors = factors or Factors(dtype)
        self.device = on
        partition = streams.partition
        tables = streams.offsets, partition.worker_table(), partition.block_table()
        arrays = (streams.units, partition.heads(streams.offsets), *tables)
        self._memory = Memory(self, on)
        self.units, self.heads, self.offsets, self.parts, self.segments = (
            self._memory.upload(array) for array in arrays
        )
        self.counters = self._memory.upload(np.zeros(partition.blocks * partition.groups * MOST_TOKENS // 8, np.uint32))
        self.scales = None if self.factors.scales is None else self._memory.upload(self.factors.scales)
        self.tiled: Nm24Wgmma | None = None  # the same matrix for many tokens, if there is one
        self.few: SpmvWeight | None = None  # and for few

    @property
    def shape(self) -> tuple[int, int]:
        return self.streams.m, self.streams.k

    @property
    def macros(self) -> Mapping[str, int]:
        """What the kernel is to be compiled with for this weight."""
        halves = self.streams.partition.halves
        own = {"WARPS": WARPS, "HALVES": halves, "BF16": int(self.dtype == BFLOAT16), "KIND": self.factors.kind}
        return {**own, **self.streams.macros}

    def tiling(self, tokens: int) -> Tiling:
        """How a product with so many tokens is cut up; raises `TargetError`."""
        wanted = next((each for each in TILES if tokens <= 8 * each), TILES[-1])
        available = self.device.shared_bytes
        for tiles in (each for each in reversed(TILES) if each <= wanted):
            rows = -(-tokens // (8 * tiles))
            for (steps, stages), columns in product(DEPTHS, COLUMNS):
                x_bytes = stages * (16 + tiles * 8 * 2 * columns)
                w_bytes, slots = self.streams.block_bytes(steps, tiles)
                if 2 * columns >= self.streams.step * self.factors.size and x_bytes + w_bytes <= available:
                    return Tiling(tiles, rows, steps, stages, columns, slots, x_bytes + w_bytes)
        raise TargetError(
            "This weight needs more shared memory than the GPU has.",
            expected=f"at most {available} bytes in a block",
            got=f"{x_bytes + w_bytes} bytes",
        )

    def for_few(self, tokens: int) -> SpmvWeight | None:
        """The same matrix for few tokens, if it has no pattern and that is faster; encoded and copied at the first use."""
        if not isinstance(self.streams, LaneStreams | CooStreams) or tokens > spmv.TOKENS[-1]:
            return None
        if not spmv.fits(self.streams.k, self.device.shared_bytes):
            return None
        ordered = tokens > spmv.MOST_UNORDERED if self.few is None else self.few.streams.ordered
        m, k, nnz = self.streams.m, self.streams.k, self.streams.nnz
        own, other = (
            sparse_microseconds(kernel, m, k, nnz, tokens, self.device)
            for kernel in (self.streams.kernel, "spmv_ordered" if ordered else "spmv")
        )
        if other > CERTAIN * own:
            return None
        if self.few is None:
            self.few = SpmvWeight.encode(self.streams.decode(), self.dtype, self.device, ordered=ordered)
        return self.few

    def for_many(self, tokens: int) -> Nm24Wgmma | None:
        """The same matrix for many tokens, if there is a kernel for that; encoded and copied at the first use."""
        if tokens <= (FEW_FLOAT8 if self.factors.dtype == FLOAT8 else FEW):
            return None
        on_hopper = self.device.architecture == nm24_wgmma.ARCHITECTURE
        if self.tiled is None and on_hopper and isinstance(self.streams, Nm24Streams | Nm24ByteStreams):
            self.tiled = Nm24Wgmma(Nm24Tiles.encode(self.streams.decode()), self.dtype, self.device, self.factors)
        return self.tiled

    def partial_bytes(self, tiling: Tiling) -> int:
        """Of the sums of parts of rows, for a product so cut up."""
        partition = self.streams.partition
        return partition.segments * partition.rows * tiling.tiles * tiling.rows * 8 * 4
