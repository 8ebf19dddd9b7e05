"""What the cost model must know of a machine: its roofs for one core."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """Roofs of one core: clock in GHz, vector multiply-adds per cycle, cache sizes in bytes, read bandwidths in bytes per cycle."""

    name: str
    ghz: float
    vector_fma_per_cycle: float
    l1_bytes: int
    l2_bytes: int
    l1_bytes_per_cycle: float
    l2_bytes_per_cycle: float
    far_bytes_per_cycle: float


# A server core of 2022 or later with full-width vector units; `vector_fma_per_cycle` counts vectors of the target's own width.
GENERIC = Machine(
    name="generic",
    ghz=3.5,
    vector_fma_per_cycle=2.0,
    l1_bytes=48 << 10,
    l2_bytes=1 << 20,
    l1_bytes_per_cycle=128.0,
    l2_bytes_per_cycle=56.0,
    far_bytes_per_cycle=26.0,
)
