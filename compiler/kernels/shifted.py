"""Kernels of bytes where the instruction multiplies signed bytes by signed bytes: x is read less 128, and sums are mended.

    sum over k of x[k] * w[k]  =  sum over k of (x[k] - 128) * w[k]  +  128 * sum over k of w[k]

`Words` shift the elements of x on their way into words, padding included. The last term is a number for each output: one
more operand of the epilogue, which is added to the sum before anything else. Both are exact; 32-bit sums wrap, so that
what lies between does not matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.coo import Coo
from sparsec.kernels.epilogue import Epilogue, EpilogueOperand, Reach
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Kernel, LoweredLayer, Weight
from sparsec.kernels.problem import ConvProblem, LinearProblem, Problem
from sparsec.kernels.words import words_of

_SIGNATURE = re.compile(r"@epilogue\((%[\w.$-]+): i32([^)]*)\)")  # the sum's name, and the operands


@dataclass(frozen=True, slots=True)
class Shifted:
    """`kernel`, on every instruction set: its sums are mended where words are shifted."""

    kernel: Kernel

    @property
    def name(self) -> str:
        return self.kernel.name

    @property
    def format(self) -> str:
        return self.kernel.format

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        return self.kernel.refuses(problem, isa)

    def unwrapped(self, problem: Problem, isa: Isa) -> Kernel:
        """The kernel itself where words are not shifted."""
        words = words_of(problem.arithmetic, isa)
        return self.kernel if words is None or not words.shift else self

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        words = words_of(problem.arithmetic, isa)
        if words is None or not words.shift:
            return self.kernel.lower(module, problem, weight, epilogue, isa)
        assert weight is not None
        missing = words.shift * _row_sums(problem, weight)
        mended, name = _mended(epilogue)
        lowered = self.kernel.lower(module, problem, weight, mended, isa)
        if not lowered.calls:
            return lowered
        return replace(lowered, weights={**lowered.weights, name: missing.astype(np.int32)})


def _row_sums(problem: Problem, weight: Weight) -> NDArray[np.int64]:
    """The sum of all weights of each output."""
    assert isinstance(problem, (LinearProblem, ConvProblem))
    rows = problem.outputs if isinstance(problem, LinearProblem) else problem.filters
    if not isinstance(weight, Coo):
        return np.asarray(np.asarray(weight).reshape(rows, -1).sum(axis=1, dtype=np.int64))
    columns = problem.inputs if isinstance(problem, LinearProblem) else problem.reduction
    sums = np.zeros(rows, np.int64)
    np.add.at(sums, weight.indices // max(columns, 1), weight.values.astype(np.int64))
    return sums


def _mended(epilogue: Epilogue) -> tuple[Epilogue, str]:
    """The epilogue with one more operand, behind the others, that is added to the sum first; and that operand's buffer."""
    assert epilogue.total == "i32"
    found = _SIGNATURE.search(epilogue.source)
    assert found is not None, "an epilogue of whole numbers takes their sum first"
    start = epilogue.source.index("{", found.end()) + 1
    total, others = found[1], found[2]
    source = (
        f"{epilogue.source[: found.start()]}@epilogue(%given: i32{others}, %missing: i32)"
        f"{epilogue.source[found.end() : start]}\n  {total} = arith.addi %given, %missing : i32{epilogue.source[start:]}"
    )
    operands = (*epilogue.operands, EpilogueOperand(Reach.CHANNEL, "i32"))
    return replace(epilogue, source=source, operands=operands), f"epilogue.{len(epilogue.operands)}"
