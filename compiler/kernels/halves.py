"""Kernels of float16: the same generators as for float32, whose vectors have as many lanes as there are elements of 16 bits."""

from __future__ import annotations

from dataclasses import dataclass

from torch_mlir import ir

from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Kernel, LoweredLayer, Weight
from sparsec.kernels.problem import Problem


@dataclass(frozen=True, slots=True)
class Halves:
    """`kernel`, of the arithmetic fp16. Its sums of fp32 are two vectors for each one of float16."""

    kernel: Kernel

    @property
    def name(self) -> str:
        return self.kernel.name

    @property
    def format(self) -> str:
        return self.kernel.format

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        return self.kernel.refuses(problem, isa.of_halves)

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        return self.kernel.lower(module, problem, weight, epilogue, isa.of_halves)
