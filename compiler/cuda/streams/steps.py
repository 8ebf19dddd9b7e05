"""What all streams say whose steps a partition deals out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sparsec.cuda.products.device_cost import Kernel
from sparsec.cuda.streams.partition import Partition


@dataclass(frozen=True, slots=True)
class Steps:
    """A matrix [m, k] as a kernel's warps take it, step after step."""

    kernel: ClassVar[Kernel]
    columns: ClassVar[int]  # of a warp in a step

    m: int
    k: int
    partition: Partition

    @property
    def step(self) -> int:
        """Columns of a step, of all warps."""
        return self.columns * self.partition.halves

    @property
    def steps(self) -> int:
        """Of a row block."""
        return -(-self.k // self.step)
