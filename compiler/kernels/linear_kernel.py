"""What all kernels of linear layers say: their names, and what they compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sparsec.kernels.arithmetic import F32, Arithmetic
from sparsec.kernels.isa import Isa
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.words import refusal


@dataclass(frozen=True, slots=True)
class LinearKernel:
    """A kernel of linear layers in one arithmetic."""

    kind: ClassVar[str]  # its name without the arithmetic's
    format: ClassVar[str]

    arithmetic: Arithmetic = F32

    @property
    def name(self) -> str:
        return f"{self.arithmetic.name}_{self.kind}"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        """None if it can compute the problem, else the reason in words."""
        if not isinstance(problem, LinearProblem):
            return "not a linear layer"
        return refusal(problem.arithmetic, self.arithmetic, isa) or self.lacks(problem, isa)

    def lacks(self, problem: LinearProblem, isa: Isa) -> str | None:
        """What a problem of its arithmetic, or the instruction set, lacks for this kernel in particular; None if nothing."""
        return None
