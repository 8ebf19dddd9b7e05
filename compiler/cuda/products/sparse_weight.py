"""A sparse weight as streams that warps read: how its products are cut up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np

from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.memory import Memory
from sparsec.cuda.device.tensors import BFLOAT16
from sparsec.cuda.streams.coo_streams import CooStreams
from sparsec.cuda.streams.factors import Factors
from sparsec.cuda.streams.lane_streams import LaneStreams
from sparsec.cuda.streams.nm24_byte_streams import Nm24ByteStreams
from sparsec.cuda.streams.nm24_streams import Nm24Streams
from sparsec.cuda.streams.partition import WARPS
from sparsec.cuda.streams.w4_group_streams import W4GroupStreams
from sparsec.cuda.streams.w4_nm24_streams import W4Nm24Streams
from sparsec.errors import TargetError

Streams: TypeAlias = LaneStreams | CooStreams | Nm24Streams | Nm24ByteStreams | W4Nm24Streams | W4GroupStreams

TILES = (1, 2, 4, 8)  # of 8 tokens, that a warp can have sums for
MOST_TOKENS = 128  # that one launch does
COLUMNS = (256, 128)  # of a tile of X, the best first
STAGES = (4, 3, 2)  # tiles of X in shared memory, the best first
MOST_STAGES = 8  # where there should be more of them
FEWEST_WIDE = 3  # wide ones, better than more that are not
BATCHES = 4  # that a wide tile has the columns of


@dataclass(frozen=True, slots=True)
class Tiling:
    """Of a product: `tiles` of 8 tokens that a block of threads does, in so many rows of blocks; so many
    `stages` of X, tiles of so many `columns`, are in shared memory, with `slots` for values in each warp."""

    tiles: int
    rows: int
    stages: int
    columns: int
    slots: int
    shared_bytes: int

    @property
    def macros(self) -> Mapping[str, int]:
        """What a kernel is to be compiled with for it."""
        return {"TILES": self.tiles, "STAGES": self.stages, "COLUMNS": self.columns}


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
        self.counters = self._memory.upload(np.zeros(partition.blocks * WARPS * MOST_TOKENS // 8, np.uint32))
        self.scales = None if self.factors.scales is None else self._memory.upload(self.factors.scales)

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
        available = self.device.shared_bytes
        found = next(
            (each for each in _tilings(self.streams, tokens, self.factors.size) if each.shared_bytes <= available), None
        )
        if found is None:
            *_, least = _tilings(self.streams, tokens, self.factors.size)
            raise TargetError(
                "This weight needs more shared memory than the GPU has.",
                expected=f"at most {available} bytes in a block",
                got=f"{least.shared_bytes} bytes",
            )
        return found

    def partial_bytes(self, tiling: Tiling) -> int:
        """Of the sums of parts of rows, for a product so cut up."""
        partition = self.streams.partition
        return partition.segments * partition.rows * tiling.tiles * tiling.rows * 8 * 4


def has_room(streams: Streams, available: int) -> bool:
    """Whether so much shared memory of a block is enough for products with streams of 16-bit elements."""
    return any(each.shared_bytes <= available for each in _tilings(streams, 1, 2))


def _tilings(streams: Streams, tokens: int, size: int) -> Iterator[Tiling]:
    """Ways to cut up a product with elements of so many bytes, the best first."""
    wanted = next((each for each in TILES if tokens <= 8 * each), TILES[-1])
    for tiles in (each for each in reversed(TILES) if each <= wanted):
        rows = -(-tokens // (8 * tiles))
        for stages, columns in (*_more_tiles_of_x(streams), *product(STAGES, COLUMNS)):
            if 2 * columns >= streams.step * streams.partition.batch * size:
                x_bytes = stages * (16 + tiles * 8 * 2 * columns)
                w_bytes, slots = streams.block_bytes(tiles)
                yield Tiling(tiles, rows, stages, columns, slots, x_bytes + w_bytes)


def _more_tiles_of_x(streams: Streams) -> Iterator[tuple[int, int]]:
    """How many tiles of X, and of how many columns, are better than others where warps have not all as much to do, and wait for
    each other at each tile: wide ones, or more of them where workers have little to do, and would wait long for the first."""
    if not isinstance(streams, LaneStreams | W4GroupStreams):
        return
    wide = BATCHES * streams.step * streams.partition.batch
    if streams.partition.halves == 2:
        yield MOST_STAGES, COLUMNS[0]
    elif wide > COLUMNS[0]:
        yield from ((MOST_STAGES, wide), (FEWEST_WIDE, wide))
