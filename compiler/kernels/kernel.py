"""The contract between a kernel generator and the compiler.

In: a problem, a weight, an epilogue, an ISA. Out: functions in the module, packed weights, and the calls that use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from torch_mlir import ir

from sparsec.formats.coo import Coo
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.problem import Problem

Weight = np.ndarray | Coo


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a generated function `@function(flat memref..., %begin: index, %end: index)`.

    `arguments` name buffers: "x" ("p", "q" for a matmul), "y", a packed weight, a scratch buffer, or "epilogue.0" ….
    Units [0, extent) are independent and may run on different threads in chunks; `products` is the work of the whole call
    in multiply-adds, from which the compiler decides how small a chunk may be.
    """

    function: str
    arguments: tuple[str, ...]
    extent: int
    products: int


@dataclass(frozen=True, slots=True)
class LoweredLayer:
    """What replaces a layer: `calls` in order, over `weights` (flat arrays to store) and `scratch`: MLIR element types and
    element counts."""

    calls: tuple[Call, ...]
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    scratch: Mapping[str, tuple[str, int]] = field(default_factory=dict)


class Kernel(Protocol):
    """One way to compute one kind of layer: one file, one row in `sparsec.kernels.KERNELS`."""

    @property
    def name(self) -> str:
        """arithmetic_op_format_tile without the ISA, e.g. `f32_conv_csr`."""

    @property
    def format(self) -> str:
        """The weight format it reads, a name in `sparsec.formats.FORMATS`."""

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        """None if it can compute the problem, else the reason in words."""

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        """Add the functions it needs to `module` (each once: same name means same function) and pack the weight."""


@runtime_checkable
class OwnInstruction(Protocol):
    """A kernel that does not multiply by the instruction of its arithmetic's words, but for example on tile registers."""

    @property
    def instruction(self) -> str:
        """What multiplies instead."""
