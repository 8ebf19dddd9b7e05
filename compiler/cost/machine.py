"""What the cost model must know of a machine: its roofs for one core."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """Roofs of one core: clock in GHz, vector multiply-adds per cycle, cache sizes in bytes, read bandwidths in bytes per cycle.

    A vector is one of the target's own width. `loaded_fma_per_cycle` counts multiply-adds that read an operand from L1,
    `broadcast_fma_per_cycle` those that read one element of it into all lanes. `far_bytes_per_cycle` is the bandwidth
    of what lies behind L2, `memory_bytes_per_cycle` that of what lies behind `l3_bytes`. `cores` share L3 and memory.
    """

    name: str
    ghz: float
    vector_fma_per_cycle: float
    l1_bytes: int
    l2_bytes: int
    l1_bytes_per_cycle: float
    l2_bytes_per_cycle: float
    far_bytes_per_cycle: float
    l3_bytes: int = 32 << 20
    memory_bytes_per_cycle: float = 7.0
    loaded_fma_per_cycle: float = 2.0
    broadcast_fma_per_cycle: float = 2.0
    cores: int = 1


# A server core of 2022 or later with full-width vector units.
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
