"""The compilation unit: what a pass reads and changes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from torch_mlir import ir

from sparsec.artifact import Complaint
from sparsec.cost.database import Measurements
from sparsec.cost.machine import GENERIC, Machine
from sparsec.formats.facts import Facts, facts_of
from sparsec.ir.weights import WeightStore
from sparsec.kernels.arithmetic import F32, Arithmetic
from sparsec.kernels.isa import Isa
from sparsec.report import LayerReport


@dataclass(slots=True)
class Unit:
    """One network on its way through the passes: the module, the weights beside it, and what was decided so far."""

    module: ir.Module
    weights: WeightStore
    isa: Isa
    layers: dict[str, LayerReport] = field(default_factory=dict)  # by layer name, in program order
    complaints: list[Complaint] = field(default_factory=list)  # of checks while running, by their number
    machine: Machine = GENERIC  # that predictions are for
    measurements: Measurements | None = None  # that choices may use
    notes: list[str] = field(default_factory=list)  # for the report
    precision: Arithmetic = F32  # in which layers of float32 may multiply
    dense_only: bool = False  # zeros of weights are not to be used
    kernels: Collection[str] | None = None  # that layers may use; None for all
    half: str = "f16"  # on a GPU: what float32 is rounded to between steps
    quantised: bool = False  # contractions of codes of 8 bit were found
    _facts: dict[str, Facts] = field(default_factory=dict)

    def facts(self, weight: str) -> Facts:
        """Facts about a weight, found out once; a weight does not change under its name."""
        if weight not in self._facts:
            self._facts[weight] = facts_of(self.weights[weight])
        return self._facts[weight]


Pass = Callable[[Unit], None]
