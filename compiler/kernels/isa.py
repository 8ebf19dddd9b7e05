"""What a kernel generator must know of an instruction set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Isa:
    """`suffix` ends kernel names; `masks` says that vectors have cheap per-lane masks for loads, stores and compression."""

    suffix: str
    vector_bytes: int
    registers: int
    masks: bool

    def lanes(self, element_bytes: int = 4) -> int:
        return self.vector_bytes // element_bytes


AVX512 = Isa("avx512", 64, 32, masks=True)
AVX2 = Isa("avx2", 32, 16, masks=False)
