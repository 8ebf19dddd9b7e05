"""Pairs of blocks on Hopper's tensor cores: how products are cut up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from sparsec.cuda.device.driver import Device
from sparsec.cuda.products.block_weight import BlockWeight
from sparsec.cuda.products.device_cost import HOPPER_SHARED_BYTES
from sparsec.cuda.streams.bsr_pairs import GROUPS, SIDE, UNIT_BYTES, WIDTH, BlockPairs

AREA_BYTES = 8192  # of shared memory for a warpgroup's results on their way out
WIDEST, NARROWEST = 192, 64  # tokens of a tile: for more, three warpgroups have not enough registers
STAGES = 12  # at most, of which there are two bits for each in the kernel
SLOTS_OF_STAGE = 1.5  # pairs with a unit in a piece, for which there is room
_ALIKE = 2.4  # of three pairs that are put together, as if so many had units anywhere
# Microseconds, measured: of a launch, a piece, and for each token of a piece.
_LAUNCH, _PIECE, _TOKEN = 4.0, 0.55, 0.0009
AROUND = 24  # tokens of a tile that take as long as what is around a tile


@dataclass(frozen=True, slots=True)
class PairTiling:
    """Of a product: tiles of so many tokens, pieces of X and places for pairs of units in shared memory."""

    tokens: int
    stages: int
    slots: int
    threads: ClassVar[int] = 128 * GROUPS + 32

    @property
    def box(self) -> tuple[int, int]:
        """Tokens and columns of X that are copied at a time."""
        return self.tokens, WIDTH

    @property
    def shared_bytes(self) -> int:
        """Of a block of threads: pieces with their barriers; units with zeros before, between and after them; results."""
        x_bytes = self.stages * (self.tokens * WIDTH * 2 + 16)
        return x_bytes + (3 * self.slots + 1) * UNIT_BYTES + GROUPS * AREA_BYTES

    def blocks(self, tiles: int, workers: int) -> int:
        """Of threads, for so many tiles."""
        return min(tiles, workers)

    @property
    def macros(self) -> Mapping[str, int]:
        """What the kernel is to be compiled with."""
        return {"GROUPS": GROUPS, "TOKENS": self.tokens, "STAGES": self.stages, "SLOTS": self.slots}


class BsrPairsWgmma(BlockWeight):
    """A matrix in pairs."""

    def __init__(self, pairs: BlockPairs, dtype: str, on: Device) -> None:
        super().__init__("bsr_pairs_wgmma", (pairs.m, pairs.k), (pairs.units, pairs.pieces, pairs.tiles), dtype, on)

    def tiling(self, tokens: int) -> PairTiling:
        """As wide as multiprocessors are busy."""
        return pair_tiling(self._row_tiles, tokens, self.device.multiprocessors, self.device.shared_bytes)


def pair_tiling(rows: int, tokens: int, workers: int, shared_bytes: int) -> PairTiling:
    """Of so many row tiles: the tokens of a tile for which multiprocessors have the least to do, and what shared memory then has
    room for."""

    def cost(width: int) -> tuple[int, int]:
        return -(-rows * -(-tokens // width) // workers) * (width + AROUND), -width

    width = min(range(NARROWEST, WIDEST + 1, 16), key=cost)
    stages = STAGES
    while True:
        tiling = PairTiling(width, stages, max(GROUPS, int(stages * SLOTS_OF_STAGE)))
        if tiling.shared_bytes <= shared_bytes:
            return tiling
        stages -= 1


def microseconds(tokens: int, m: int, k: int, squares: int, workers: int) -> float:
    """About how long a product with a matrix [m, k] of so many 64 x 64 that are not zeros takes."""
    tiles = -(-m // (2 * SIDE * GROUPS))
    tiling = pair_tiling(tiles, tokens, workers, HOPPER_SHARED_BYTES)
    share = squares / (-(-m // WIDTH) * -(-k // WIDTH))
    pieces = -(-k // WIDTH) * (1.0 - math.pow(1.0 - share, _ALIKE))
    rounds = -(-tiles * -(-tokens // tiling.tokens) // workers)
    return _LAUNCH + rounds * pieces * (_PIECE + _TOKEN * tiling.tokens)
