"""Epilogues for the kernel tests, each with what it does in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from harness import F64, Array, operand_shape

from sparsec.kernels.epilogue import IDENTITY, Epilogue, EpilogueOperand, Reach
from sparsec.kernels.problem import Problem


@dataclass(frozen=True, slots=True)
class Tail:
    """`expected(sum, *operands)` is the epilogue in float64; its slope in the sum is at most 1 in size."""

    epilogue: Epilogue
    expected: Callable[..., F64]

    def operands(self, problem: Problem, random: np.random.Generator) -> dict[str, Array]:
        """Random operands, by buffer name, shaped so that they broadcast against the output."""
        shapes = [operand_shape(operand.reach, problem) for operand in self.epilogue.operands]
        return {f"epilogue.{i}": random.standard_normal(shape, dtype=np.float32) for i, shape in enumerate(shapes)}

    def apply(self, total: F64, operands: dict[str, Array]) -> F64:
        return self.expected(total, *(np.asarray(value, dtype=np.float64) for value in operands.values()))


def _operands(*reaches: Reach) -> tuple[EpilogueOperand, ...]:
    return tuple(EpilogueOperand(reach, "f32") for reach in reaches)


PLAIN = Tail(IDENTITY, lambda total: total)
BIAS_RELU = Tail(
    Epilogue(
        """func.func private @epilogue(%sum: f32, %bias: f32) -> f32 {
  %zero = arith.constant 0.0 : f32
  %0 = arith.addf %sum, %bias : f32
  %1 = arith.maximumf %0, %zero : f32
  return %1 : f32
}""",
        _operands(Reach.CHANNEL),
    ),
    lambda total, bias: np.maximum(total + bias, 0),
)
RESIDUAL = Tail(
    Epilogue(
        """func.func private @epilogue(%sum: f32, %residual: f32, %shift: f32) -> f32 {
  %0 = arith.addf %sum, %residual : f32
  %1 = arith.subf %0, %shift : f32
  return %1 : f32
}""",
        _operands(Reach.FULL, Reach.SCALAR),
    ),
    lambda total, residual, shift: total + residual - shift,
)
# Long enough to be built as a loop over the tile.
LONG = Tail(
    Epilogue(
        """func.func private @epilogue(%sum: f32, %bias: f32, %residual: f32) -> f32 {
  %low = arith.constant -4.0 : f32
  %high = arith.constant 4.0 : f32
  %half = arith.constant 0.5 : f32
  %0 = arith.addf %sum, %bias : f32
  %1 = arith.maximumf %0, %low : f32
  %2 = arith.minimumf %1, %high : f32
  %3 = arith.mulf %2, %half : f32
  %4 = arith.addf %3, %residual : f32
  %5 = arith.subf %4, %bias : f32
  %6 = arith.negf %5 : f32
  return %6 : f32
}""",
        _operands(Reach.CHANNEL, Reach.FULL),
    ),
    lambda total, bias, residual: -(np.clip(total + bias, -4, 4) * 0.5 + residual - bias),
)
TAILS = (PLAIN, BIAS_RELU, RESIDUAL, LONG)
