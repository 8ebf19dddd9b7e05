"""Block-sparse weights by tall tiles on Hopper's tensor cores: how products are cut up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from sparsec.cuda.device.driver import Device
from sparsec.cuda.products.block_weight import BlockWeight
from sparsec.cuda.products.device_cost import HOPPER_SHARED_BYTES
from sparsec.cuda.streams.bsr_steps import SIDE, STEP, UNIT_BYTES
from sparsec.cuda.streams.bsr_tall import (
    CLUSTER,
    GROUPS,
    MOST,
    TOKENS,
    WINDOW,
    TallTiles,
    row_tiles,
)

STORE_BYTES = 1280  # of shared memory for a warp's results on their way out
STAGES = (7, 6, 5, 4, 3)  # of windows; units have the rest of shared memory
AHEAD = 1.0  # of the units of all stages, on average, that there is to be room for

# Microseconds, measured: around a tile; of a step, and of each of its units.
_AROUND, _STEP, _UNIT = 10.7, 0.032, 0.0425


@dataclass(frozen=True, slots=True)
class TallTiling:
    """Of a product: so many stages of windows of so many steps."""

    steps: int
    stages: int
    tokens: ClassVar[int] = TOKENS * CLUSTER
    box: ClassVar[tuple[int, int]] = (TOKENS, STEP)
    threads: ClassVar[int] = 128 * (GROUPS + 1)

    @property
    def units(self) -> int:
        """That there is shared memory for."""
        return (HOPPER_SHARED_BYTES - self._other_bytes) // UNIT_BYTES

    @property
    def shared_bytes(self) -> int:
        """Of a block of threads: windows with their parts of X, two barriers and how many units they have; units, results."""
        return self.units * UNIT_BYTES + self._other_bytes

    @property
    def macros(self) -> Mapping[str, int]:
        """What the kernel is to be compiled with."""
        return {"CLUSTER": CLUSTER, "STEPS": self.steps, "STAGES": self.stages, "UNITS": self.units}

    def blocks(self, tiles: int, workers: int) -> int:
        """Of threads, for so many tiles of a cluster."""
        return min(tiles, workers // CLUSTER) * CLUSTER

    @property
    def _other_bytes(self) -> int:
        return self.stages * (TOKENS * self.steps * STEP * 2 + WINDOW.itemsize + 16) + GROUPS * 4 * STORE_BYTES


class BsrTallWgmma(BlockWeight):
    """A matrix in tall tiles."""

    def __init__(self, tiles: TallTiles, dtype: str, on: Device) -> None:
        super().__init__("bsr_tall_wgmma", (tiles.m, tiles.k), (tiles.units, tiles.windows, tiles.tiles), dtype, on)
        self._tiling = tall_tiling(tiles.steps, len(tiles.units) / max(1, len(tiles.windows)))

    def tiling(self, tokens: int) -> TallTiling:
        """The same for any tokens."""
        return self._tiling


def tall_tiling(steps: int, units: float) -> TallTiling:
    """Of windows of so many steps, with so many units on average: as many stages as leave room for theirs."""
    found = [TallTiling(steps, stages) for stages in STAGES]
    return next(each for each in found if each.units >= max(MOST, AHEAD * each.stages * units) or each is found[-1])


def microseconds(tokens: int, m: int, k: int, units: int, workers: int) -> float:
    """About how long a product with a matrix [m, k] of so many units takes on Hopper."""
    strips = -(-m // SIDE)
    tiles = row_tiles(strips, workers)
    steps = -(-k // STEP) * (1.0 - math.pow(1.0 - units / (strips * -(-k // SIDE)), 2 * strips / tiles))
    of_step = units / (tiles * steps) if units else 0.0
    rounds = -(-tiles * -(-tokens // (TOKENS * CLUSTER)) // max(1, workers // CLUSTER))
    return rounds * (_AROUND + steps * (_STEP + _UNIT * of_step))
