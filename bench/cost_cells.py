"""The layers on which the cost model is judged: linear and convolution, each with weights of several patterns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.spmm_cells import UNSTRUCTURED, Cell, make_mask
from sparsec.kernels.problem import Axis, ConvProblem, LinearProblem, Problem

_LINEAR = ((256, 256), (1024, 256), (256, 1024), (768, 768), (3072, 768), (768, 3072))  # outputs, inputs
_TOKENS = (17, 32, 100, 128, 384)
_PATTERNS = (
    *((UNSTRUCTURED, zeros) for zeros in (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)),
    *(("4x1", zeros) for zeros in (0.5, 0.8, 0.9)),
    ("16x1", 0.8),
    ("2:4", 0.5),
)
_ZEROS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class CostCell:
    """One layer; `pattern` and `zeros` as in `bench.spmm_cells`, over the weight as a matrix [outputs, reduction]."""

    problem: ConvProblem | LinearProblem
    pattern: str
    zeros: float

    def weight(self) -> np.ndarray:
        """Normal weights, the same for the same cell."""
        rows, columns = _matrix(self.problem)
        random = np.random.default_rng([rows, columns, round(10_000 * self.zeros)])
        weight = random.standard_normal((rows, columns), np.float32)
        weight[~make_mask(Cell(rows, columns, 1, self.pattern, self.zeros), random)] = 0
        match self.problem:
            case ConvProblem(_, channels, filters, groups, axes):
                return weight.reshape(filters, channels // groups, *(axis.kernel for axis in axes))
            case LinearProblem():
                return weight


def _matrix(problem: Problem) -> tuple[int, int]:
    match problem:
        case ConvProblem():
            return problem.filters, problem.reduction
        case LinearProblem():
            return problem.outputs, problem.inputs
    raise AssertionError("a matmul has no weight")


def _square(channels: int, filters: int, size: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> ConvProblem:
    padding = kernel // 2
    axis = Axis(size, kernel, stride, 1, padding, padding)
    return ConvProblem(1, channels, filters, groups, (axis, axis))


_CONVOLUTIONS = (
    _square(32, 16, 112),
    _square(24, 144, 56),
    _square(144, 24, 56),
    _square(96, 576, 14),
    _square(576, 96, 14),
    _square(160, 960, 7),
    _square(960, 160, 7),
    _square(256, 256, 28),
    _square(512, 512, 14),
    _square(256, 512, 28, stride=2),
    _square(3, 32, 224, 3, 2),
    _square(64, 64, 56, 3),
    _square(128, 128, 28, 3),
    _square(256, 256, 14, 3),
    _square(128, 256, 28, 3, 2),
    _square(144, 144, 56, 3, groups=144),
    _square(144, 144, 56, 5, 2, groups=144),
    _square(576, 576, 14, 3, groups=576),
)

GRID = (
    *(
        CostCell(LinearProblem(tokens, inputs, outputs), pattern, zeros)
        for outputs, inputs in _LINEAR
        for tokens in _TOKENS
        for pattern, zeros in _PATTERNS
    ),
    *(CostCell(problem, UNSTRUCTURED, zeros) for problem in _CONVOLUTIONS for zeros in _ZEROS),
)
QUICK = GRID[::29]  # coprime to the numbers of patterns, tokens and shapes
