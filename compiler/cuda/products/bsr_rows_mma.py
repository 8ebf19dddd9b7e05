"""Block-sparse weights by warps that have a strip of 32 rows each, on Hopper: how products are cut up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from sparsec.cuda.device.driver import Device
from sparsec.cuda.products.block_weight import BlockWeight
from sparsec.cuda.products.device_cost import HOPPER_SHARED_BYTES
from sparsec.cuda.streams.bsr_rows import MOST, PAIR, SIDE, STEP, UNIT_BYTES, WARPS, BlockRows, tile_pairs

STORE_BYTES = 640  # of shared memory for a warp's results on their way out
WIDTHS = (48, 64, 80, 88, 96, 104, 112, 120)  # tokens of a tile: for more there are not enough registers
STAGES = (16, 14, 12, 10, 8, 6, 4)  # of X; units have the rest of shared memory
AHEAD = 1.2  # of the units of all stages, on average, that there is to be room for
AROUND = 400  # tokens of a tile that take as long as its steps do, however many tokens they have

# Microseconds, measured: of a launch, of a step, and of a unit for each token.
_LAUNCH, _STEP, _UNIT = 4.0, 0.285, 0.000336


@dataclass(frozen=True, slots=True)
class RowTiling:
    """Of a product: tiles of so many tokens, with so many stages."""

    tokens: int
    stages: int
    threads: ClassVar[int] = 32 * WARPS + 128

    @property
    def units(self) -> int:
        """That there is shared memory for."""
        return (HOPPER_SHARED_BYTES - self._other_bytes) // UNIT_BYTES

    @property
    def box(self) -> tuple[int, int]:
        """Tokens and columns of X that are copied at a time."""
        return self.tokens, STEP

    @property
    def shared_bytes(self) -> int:
        """Of a block of threads: stages with their heads and three barriers, units, results."""
        return self.units * UNIT_BYTES + self._other_bytes

    @property
    def macros(self) -> Mapping[str, int]:
        """What the kernel is to be compiled with."""
        return {"TOKENS": self.tokens, "STAGES": self.stages, "UNITS": self.units, "CLUSTER": PAIR}

    def blocks(self, tiles: int, workers: int) -> int:
        """Of threads, for so many pairs of tiles."""
        return min(tiles, workers // PAIR) * PAIR

    @property
    def _other_bytes(self) -> int:
        return self.stages * (self.tokens * 2 * STEP + 32) + WARPS * STORE_BYTES


class BsrRowsMma(BlockWeight):
    """A matrix in rows of blocks."""

    def __init__(self, rows: BlockRows, dtype: str, on: Device) -> None:
        super().__init__("bsr_rows_mma", (rows.m, rows.k), (rows.units, rows.steps, rows.tiles), dtype, on)
        self._of_step = len(rows.units) / max(1, len(rows.steps))

    def tiling(self, tokens: int) -> RowTiling:
        """As wide as multiprocessors are busy."""
        return row_tiling(tile_width(self.shape[0], tokens, self.device.multiprocessors), self._of_step)


def row_tiling(width: int, units: float) -> RowTiling:
    """Of tiles of so many tokens, with so many units in a step on average: as many stages as leave room for theirs."""
    found = (RowTiling(width, stages) for stages in STAGES)
    return next(
        each for each in found if each.units >= max(MOST, AHEAD * each.stages * units) or each.stages == STAGES[-1]
    )


def tile_width(m: int, tokens: int, workers: int) -> int:
    """The tokens of a tile for which multiprocessors have the least to do."""

    def cost(width: int) -> tuple[int, int]:
        return _rounds(m, tokens, width, workers) * (width + AROUND), -width

    return min(WIDTHS, key=cost)


def _rounds(m: int, tokens: int, width: int, workers: int) -> int:
    return -(-tile_pairs(m) * -(-tokens // width) // (workers // PAIR))


def microseconds(tokens: int, m: int, k: int, units: int, workers: int) -> float:
    """About how long a product with a matrix [m, k] of so many units takes on Hopper."""
    width = tile_width(m, tokens, workers)
    share = units / (-(-m // SIDE) * -(-k // SIDE))
    steps = -(-k // STEP) * (1.0 - (1.0 - share) ** (2 * WARPS * PAIR))
    of_tile = units / (tile_pairs(m) * PAIR)
    return _LAUNCH + _rounds(m, tokens, width, workers) * (_STEP * steps + _UNIT * of_tile * width)
