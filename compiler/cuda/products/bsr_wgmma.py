"""Block-sparse weights by strips of 32 rows on Hopper's tensor cores: how products are cut up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from sparsec.cuda.device.driver import Device
from sparsec.cuda.products.block_weight import BlockWeight
from sparsec.cuda.streams.bsr_steps import (
    GROUPS,
    MOST,
    SIDE,
    STEP,
    STEPS,
    TOKENS,
    UNIT_BYTES,
    WINDOW,
    BlockSteps,
    row_tiles,
)

STORE_BYTES = 1280  # of shared memory for a warp's results on their way out

# Tokens and parts of a tile that there is code for, and how many such clusters run at the same time on an H100.
CLUSTERS = {
    (64, 1): 132,
    (64, 2): 66,
    (64, 4): 28,
    (64, 8): 13,
    (128, 1): 132,
    (128, 2): 66,
    (128, 4): 28,
    (128, 8): 13,
}
_MULTIPROCESSORS = 132

# Microseconds, measured there: of a launch, between tiles, of a window and of each of its units; of a cluster for each of its
# parts, and for each token's sums that they exchange.
_LAUNCH, _BETWEEN, _LEAST_WINDOW, _MEETING, _EXCHANGE = 4.8, 7.7, 0.63, 0.1, 0.0109
_UNIT = {64: 0.089, 128: 0.095}


@dataclass(frozen=True, slots=True)
class StepTiling:
    """Tiles of so many tokens, each done by a cluster of `split` blocks of threads; windows and units that there is shared
    memory for."""

    tokens: int = TOKENS
    split: int = 1
    stages: int = 4
    units: int = 36
    threads: ClassVar[int] = 128 * (GROUPS + 1)

    @property
    def box(self) -> tuple[int, int]:
        """Tokens and columns of X that are copied at a time."""
        return self.tokens, STEP

    @property
    def shared_bytes(self) -> int:
        """Of a block of threads: windows with their parts of X and barriers, units, results."""
        x_bytes = self.stages * (TOKENS * STEPS * STEP * 2 + WINDOW.itemsize + 16)
        return x_bytes + self.units * UNIT_BYTES + GROUPS * 4 * STORE_BYTES

    def blocks(self, tiles: int, workers: int) -> int:
        """Of threads, for so many tiles: those that stay, or a cluster for each."""
        return min(tiles, workers) if self.split == 1 else tiles * self.split

    @property
    def macros(self) -> Mapping[str, int]:
        """What the kernel is to be compiled with."""
        return {"TOKENS": self.tokens, "SPLIT": self.split, "STEPS": STEPS, "STAGES": self.stages, "UNITS": self.units}


class BsrWgmma(BlockWeight):
    """A matrix in steps."""

    def __init__(self, steps: BlockSteps, dtype: str, on: Device) -> None:
        super().__init__("bsr_wgmma", (steps.m, steps.k), (steps.units, steps.windows, steps.tiles), dtype, on)
        count = max(1, len(steps.windows))
        self._work = Work(len(steps.tiles), count / len(steps.tiles), len(steps.units) / count)

    def tiling(self, tokens: int) -> StepTiling:
        """The one that should take the least time."""
        return min(tilings(self._work, tokens, self.device.multiprocessors), key=lambda each: each[1])[0]


@dataclass(frozen=True, slots=True)
class Work:
    """Of a matrix: row tiles, windows of each, and units of a window, on average."""

    row_tiles: int
    windows: float
    units: float

    @classmethod
    def of(cls, m: int, k: int, units: int, workers: int) -> Work:
        """About what encoding a matrix [m, k] of so many units, wherever they are, would give."""
        strips, steps = -(-m // SIDE), -(-k // STEP)
        tiles = row_tiles(strips, workers)
        share = units / (strips * -(-k // SIDE))
        of_step = 2 * strips / tiles * share
        together = STEPS if STEPS * of_step <= MOST else 1
        there = steps * (1.0 - (1.0 - share) ** (2 * strips / tiles))
        return cls(tiles, there / together, of_step * steps / max(1.0, there) * together)


def tilings(work: Work, tokens: int, workers: int) -> Iterator[tuple[StepTiling, float]]:
    """Those that there are, and about how many microseconds each takes."""
    for (width, split), clusters in CLUSTERS.items():
        at_once = workers * clusters // _MULTIPROCESSORS
        rounds = -(-work.row_tiles * -(-tokens // width) // max(1, at_once))
        window = max(_LEAST_WINDOW, _UNIT[width] * work.units)
        exchanged = split * (_MEETING + _EXCHANGE * min(tokens, width)) if split > 1 else 0.0
        each = work.windows / split * window + exchanged
        yield StepTiling(width, split), _LAUNCH + rounds * each + (rounds - 1) * _BETWEEN


def microseconds(tokens: int, m: int, k: int, units: int, workers: int) -> float:
    """About how long a product with a matrix [m, k] of so many units takes on Hopper."""
    return min(cost for _, cost in tilings(Work.of(m, k, units, workers), tokens, workers))
