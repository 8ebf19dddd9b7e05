"""What the cost model must know of a machine: its roofs for one core, and what its cores share."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Machine:
    """Roofs of one core: clock in GHz, vector multiply-adds per cycle, cache sizes in bytes, read bandwidths in bytes per cycle.

    A vector is one of the target's own width. `loaded_fma_per_cycle` counts multiply-adds that read an operand from L1,
    `broadcast_fma_per_cycle` those that read one element of it into all lanes. `far_bytes_per_cycle` is the bandwidth
    of what lies behind L2, `memory_bytes_per_cycle` that of what lies behind `l3_bytes`. `cores` share L3 and memory: all
    that L3 and memory can give is what so many cores read, `far_cores` and `memory_cores` (a calibration measures both).
    Predictions are for `threads` threads, each on a core of its own.
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
    far_cores: float = 8.0
    memory_cores: float = 4.0
    threads: int = 1

    def one_of(self, cores: float) -> Machine:
        """One of so many cores that have equal parts of a layer: its share of L3 and of memory; what all of them read again
        and again stays in the caches of all."""
        return replace(
            self,
            l2_bytes=int(cores * self.l2_bytes),
            far_bytes_per_cycle=self.far_bytes_per_cycle * min(1.0, self.far_cores / cores),
            memory_bytes_per_cycle=self.memory_bytes_per_cycle * min(1.0, self.memory_cores / cores),
        )


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
