"""The layers on which the cost model is judged: linear and convolution, each with weights of several patterns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.spmm_cells import UNSTRUCTURED, Cell, block_of, make_mask
from sparsec.kernels.arithmetic import BF16, F32, U8S8, Arithmetic
from sparsec.kernels.problem import Axis, ConvProblem, LinearProblem, Problem

_LINEAR = ((256, 256), (1024, 256), (256, 1024), (768, 768), (3072, 768), (768, 3072))  # outputs, inputs
_TOKENS = (17, 32, 100, 128, 384)
_PATTERNS = (
    *((UNSTRUCTURED, zeros) for zeros in (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)),
    *(("4x1", zeros) for zeros in (0.5, 0.8, 0.9)),
    ("16x1", 0.8),
    ("2:4", 0.5),
)
Mask = NDArray[np.bool_]
_ZEROS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class CostCell:
    """One layer of any arithmetic; `pattern` and `zeros` as in `bench.spmm_cells`, over the weight as a matrix [outputs, reduction].

    A pattern of `MIXED` is added to a random one with so many zeros.
    """

    problem: ConvProblem | LinearProblem
    pattern: str
    zeros: float

    def weight(self) -> NDArray[np.generic]:
        """Normal weights, the same for the same cell; of bytes, whole numbers."""
        rows, columns = _matrix(self.problem)
        random = np.random.default_rng([rows, columns, round(10_000 * self.zeros)])
        weight: NDArray[np.generic] = random.standard_normal((rows, columns), np.float32)
        if self.problem.arithmetic.stored == "i8":
            steps = np.clip(np.rint(30 * weight), -127, 127)
            weight = np.where(steps == 0, 1, steps).astype(np.int8)
        mixed = MIXED.get(self.pattern)
        kept = make_mask(Cell(rows, columns, 1, UNSTRUCTURED if mixed else self.pattern, self.zeros), random)
        weight[~(kept if mixed is None else kept | mixed(rows, columns, random))] = 0
        match self.problem:
            case ConvProblem(_, channels, filters, groups, axes):
                return weight.reshape(filters, channels // groups, *(axis.kernel for axis in axes))
            case LinearProblem():
                return weight


def _full_rows(rows: int, columns: int, random: np.random.Generator) -> Mask:
    """The first eighth of the rows."""
    return np.broadcast_to(np.arange(rows)[:, None] < rows // 8, (rows, columns))


def _outlier_rows(rows: int, columns: int, random: np.random.Generator) -> Mask:
    """A twentieth of the rows, anywhere."""
    return np.broadcast_to(random.permutation(rows)[:, None] < rows // 20, (rows, columns))


def _outlier_columns(rows: int, columns: int, random: np.random.Generator) -> Mask:
    """A twentieth of the columns, anywhere."""
    return np.broadcast_to(random.permutation(columns) < columns // 20, (rows, columns))


def _row_blocks(rows: int, columns: int, random: np.random.Generator) -> Mask:
    """Every 32 rows of another density, up to 60 %."""
    blocks = -(-rows // 32)
    density = np.repeat(random.permutation(np.linspace(0, 0.6, blocks)), 32)[:rows, None]
    return np.asarray(random.random((rows, columns)) < density)


def _blocks_beside(rows: int, columns: int, random: np.random.Generator) -> Mask:
    """A tenth of all blocks of four rows."""
    return (random.random((-(-rows // 4), columns)) < 0.1).repeat(4, axis=0)[:rows]


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

# Shapes, tokens and patterns that no constant of the model was fitted to.
_NEW_LINEAR = ((384, 384), (1536, 384), (384, 1536), (640, 1024), (2304, 768), (1000, 1280), (512, 2048), (200, 330))
_NEW_TOKENS = (20, 48, 64, 77, 197, 256, 512)
_NEW_PATTERNS = (
    *((UNSTRUCTURED, zeros) for zeros in (0.0, 0.6, 0.75, 0.85, 0.92, 0.98)),
    *(
        ("4x1", 0.7),
        ("4x1", 0.85),
        ("8x1", 0.8),
        ("16x1", 0.9),
        ("1x4", 0.8),
        ("2:4", 0.5),
        ("1:4", 0.75),
        ("4:8", 0.5),
    ),
)
_NEW_CONVOLUTIONS = (
    _square(16, 60, 112),
    _square(40, 234, 28),
    _square(234, 40, 28),
    _square(112, 576, 14),
    _square(64, 256, 56),
    _square(1024, 256, 14),
    _square(256, 1024, 14),
    _square(1024, 2048, 14, stride=2),
    _square(512, 512, 7, 3),
    _square(128, 128, 56, 3, 2),
    _square(64, 128, 112),
    _square(240, 240, 28, 5, groups=240),
    _square(32, 32, 112, 3, groups=32),
)


def held_out(arithmetic: Arithmetic = F32) -> tuple[CostCell, ...]:
    """Cells that the model has not seen; a fair part of all combinations."""
    linear = tuple(
        CostCell(LinearProblem(tokens, inputs, outputs, arithmetic), pattern, zeros)
        for outputs, inputs in _NEW_LINEAR
        for tokens in _NEW_TOKENS
        for pattern, zeros in _NEW_PATTERNS
        if _divides(pattern, outputs, inputs)
    )
    convolutions = tuple(
        CostCell(replace(problem, arithmetic=arithmetic), UNSTRUCTURED, zeros)
        for problem in _NEW_CONVOLUTIONS
        for zeros in (0.0, 0.6, 0.85, 0.92)
    )
    chosen = (*linear[::_STRIDE], *convolutions)
    return tuple(chosen[index] for index in np.random.default_rng(0).permutation(len(chosen)))  # any beginning is fair


MIXED: Mapping[str, Callable[[int, int, np.random.Generator], Mask]] = {
    "full rows": _full_rows,
    "outlier rows": _outlier_rows,
    "outlier columns": _outlier_columns,
    "row blocks": _row_blocks,
    "4x1 beside": _blocks_beside,
}


def mixed(arithmetic: Arithmetic = F32) -> tuple[CostCell, ...]:
    """Weights whose parts have different densities, on which a split pays, beside random ones, on which it does not."""
    problems: tuple[ConvProblem | LinearProblem, ...] = (
        *(
            LinearProblem(tokens, inputs, outputs, arithmetic)
            for outputs, inputs in ((768, 768), (1536, 384), (768, 3072))
            for tokens in (20, 128, 256)
        ),
        *(replace(each, arithmetic=arithmetic) for each in (_square(256, 256, 28), _square(256, 192, 14, 3))),
    )
    cells = [
        CostCell(problem, pattern, zeros)
        for problem in problems
        for pattern in (*MIXED, UNSTRUCTURED)
        for zeros in (0.8, 0.95)
    ]
    return tuple(cells[index] for index in np.random.default_rng(0).permutation(len(cells)))


ARITHMETICS: Mapping[str, Arithmetic] = {"fp32": F32, "bf16": BF16, "int8": U8S8}
_STRIDE = 5  # coprime to the numbers of patterns, tokens and shapes


def _divides(pattern: str, outputs: int, inputs: int) -> bool:
    rows, columns = (1, int(pattern.partition(":")[2])) if ":" in pattern else block_of(pattern)
    return outputs % rows == 0 and inputs % columns == 0
