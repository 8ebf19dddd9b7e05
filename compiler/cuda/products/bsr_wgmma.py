"""Block-sparse weights by strips of 32 rows on Hopper's tensor cores: how products are cut up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from sparsec.cuda.device.driver import Device
from sparsec.cuda.products.block_wgmma import BlockWgmma
from sparsec.cuda.streams.bsr_steps import GROUPS, STEP, STEPS, TOKENS, UNIT_BYTES, WINDOW, BlockSteps

STORE_BYTES = 1280  # of shared memory for a warp's results on their way out


@dataclass(frozen=True, slots=True)
class StepTiling:
    """Windows and units that there is shared memory for; whatever the product."""

    stages: int = 4
    units: int = 36
    tokens: ClassVar[int] = TOKENS
    columns: ClassVar[int] = STEP
    threads: ClassVar[int] = 128 * (GROUPS + 1)

    @property
    def shared_bytes(self) -> int:
        """Of a block of threads: windows with their parts of X and barriers, units, results."""
        x_bytes = self.stages * (TOKENS * STEPS * STEP * 2 + WINDOW.itemsize + 16)
        return x_bytes + self.units * UNIT_BYTES + GROUPS * 4 * STORE_BYTES

    @property
    def macros(self) -> Mapping[str, int]:
        """What the kernel is to be compiled with."""
        return {"STEPS": STEPS, "STAGES": self.stages, "UNITS": self.units}


class BsrWgmma(BlockWgmma):
    """A matrix in steps."""

    def __init__(self, steps: BlockSteps, dtype: str, on: Device) -> None:
        super().__init__("bsr_wgmma", (steps.m, steps.k), (steps.units, steps.windows, steps.tiles), dtype, on)

    def tiling(self, tokens: int) -> StepTiling:
        """The same for all."""
        return StepTiling()
