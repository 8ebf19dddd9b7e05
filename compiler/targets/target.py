"""What a target is: facts that the code generators and the back-end need, and nothing that they can compute."""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.artifact import TargetSpec
from sparsec.cost.machine import Machine


@dataclass(frozen=True, slots=True)
class Target:
    """An instruction set to compile for.

    `requires` are the CPU features that must be present, by LLVM's names; `tuning` are LLVM feature flags that change
    only how code is generated. Vector facts: bytes in a register, number of registers, whether lanes can be masked.
    `early_loads`: see `sparsec.kernels.isa`. `relocation` is LLVM's model of addresses; `machine` is what predictions are
    for where the machine that runs is not the one that compiles, or nobody calibrated it.
    """

    name: str
    triple: str
    cpu: str
    requires: tuple[str, ...]
    tuning: tuple[str, ...]
    vector_bytes: int
    vector_registers: int
    has_masks: bool
    early_loads: bool = False
    pointer_bytes: int = 8
    relocation: str = "pic"
    machine: Machine | None = None

    @property
    def features(self) -> str:
        """LLVM's feature string."""
        return ",".join((*(f"+{name}" for name in self.requires), *self.tuning))

    @property
    def is_wasm(self) -> bool:
        """True if its code is a WebAssembly module, which another program runs."""
        return self.triple.startswith("wasm")

    @property
    def has_threads(self) -> bool:
        """True if its code is a WebAssembly module whose memory several threads share; elsewhere threads are the runtime's."""
        return self.is_wasm and "atomics" in self.requires

    @property
    def spec(self) -> TargetSpec:
        """What the artifact records."""
        return TargetSpec(self.triple, self.name, self.requires)
