"""Epilogues for the kernel tests, each with what it does in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from expected import F64, Array, operand_shape

from sparsec.kernels.arithmetic import U8S8, Arithmetic
from sparsec.kernels.epilogue import IDENTITY, Epilogue, EpilogueOperand, Reach, identity
from sparsec.kernels.problem import Problem


@dataclass(frozen=True, slots=True)
class Tail:
    """`expected(sum, *operands)` is the epilogue: of fp32 sums in float64, its slope in the sum being at most 1 in size;
    of int32 sums with the very operations that the kernel does.
    """

    epilogue: Epilogue
    expected: Callable[..., Array]

    def operands(self, problem: Problem, random: np.random.Generator) -> dict[str, Array]:
        """Random operands, by buffer name, shaped so that they broadcast against the output."""
        return {
            f"epilogue.{i}": _random(operand.dtype, operand_shape(operand.reach, problem), random)
            for i, operand in enumerate(self.epilogue.operands)
        }

    def apply(self, total: F64, operands: dict[str, Array]) -> Array:
        if self.epilogue.total == "i32":
            return self.expected(total.astype(np.int32), *operands.values())
        return self.expected(total, *(np.asarray(value, dtype=np.float64) for value in operands.values()))


def _random(dtype: str, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    match dtype:
        case "i8":
            return random.integers(0, 256, shape, dtype=np.uint8)
        case "i32":
            return random.integers(-1000, 1000, shape, dtype=np.int32)
    return random.standard_normal(shape, dtype=np.float32)


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

WHOLE = Tail(identity("i32"), lambda total: total)
DEQUANTISED = Tail(
    Epilogue(
        """func.func private @epilogue(%sum: i32, %correction: i32, %scale: f32, %residual: f32) -> f32 {
  %0 = arith.addi %sum, %correction : i32
  %1 = arith.sitofp %0 : i32 to f32
  %2 = arith.mulf %1, %scale : f32
  %3 = arith.addf %2, %residual : f32
  return %3 : f32
}""",
        (EpilogueOperand(Reach.CHANNEL, "i32"), *_operands(Reach.CHANNEL, Reach.FULL)),
        "i32",
    ),
    lambda total, correction, scale, residual: (total + correction).astype(np.float32) * scale + residual,
)
# Long, and from bytes to bytes: a quantised residual is added before the sum is quantised again.
REQUANTISED = Tail(
    Epilogue(
        """func.func private @epilogue(%sum: i32, %scale: f32, %residual: i8) -> i8 {
  %shrink = arith.constant 0.0078125 : f32
  %zero = arith.constant 0.0 : f32
  %most = arith.constant 255.0 : f32
  %0 = arith.sitofp %sum : i32 to f32
  %1 = arith.mulf %0, %scale : f32
  %2 = arith.mulf %1, %shrink : f32
  %3 = arith.uitofp %residual : i8 to f32
  %4 = arith.addf %2, %3 : f32
  %5 = math.roundeven %4 : f32
  %6 = arith.maximumf %5, %zero : f32
  %7 = arith.minimumf %6, %most : f32
  %8 = arith.fptoui %7 : f32 to i8
  return %8 : i8
}""",
        (*_operands(Reach.CHANNEL), EpilogueOperand(Reach.FULL, "i8")),
        "i32",
        "i8",
    ),
    lambda total, scale, residual: np.clip(
        np.round(total.astype(np.float32) * scale * np.float32(0.0078125) + residual.astype(np.float32)), 0, 255
    ).astype(np.uint8),
)
NARROWED = Tail(
    Epilogue(
        """func.func private @epilogue(%sum: i32, %residual: i8) -> i8 {
  %0 = arith.trunci %sum : i32 to i8
  %1 = arith.xori %0, %residual : i8
  return %1 : i8
}""",
        (EpilogueOperand(Reach.FULL, "i8"),),
        "i32",
        "i8",
    ),
    lambda total, residual: total.astype(np.uint8) ^ residual,
)
WHOLE_TAILS = (WHOLE, DEQUANTISED, REQUANTISED, NARROWED)


def tails_of(arithmetic: Arithmetic) -> tuple[Tail, ...]:
    """Tails that begin with the sums of an arithmetic."""
    return WHOLE_TAILS if arithmetic == U8S8 else TAILS
