"""How threads share a layer: pieces of its outputs that each computes whole, steps after which all wait for the last, and x,
which goes from the core that writes it to all others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sparsec.cost.steps import input_elements
from sparsec.kernels.emit import element_bytes
from sparsec.kernels.problem import AttentionProblem, ConvProblem, LinearProblem, MatmulProblem, Problem

STEP_NS = 3000.0  # to hand a step to threads that wait for it, and to wait for the last of them
LINE = 64  # bytes
# Per line of x and other thread: a line that all cores have read must be taken from all of them before it is written again.
# Where x is copied, its bytes are written twice, but those that all read in one place and in order.
_SHARED_NS = {1: 0.4, 2: 0.33}  # by steps


@dataclass(frozen=True, slots=True)
class Pieces:
    """A piece has about so many `rows` of the weight, and `columns`: tokens or pixels. Steps before the last prepare x, which
    they may fill up to whole pieces."""

    rows: int
    columns: int
    steps: int = 1
    filled: bool = False


_TILES = Pieces(16, 64)  # sums in registers
_BYTE_ROWS = Pieces(48, 64, steps=2, filled=True)
_GROUPS = Pieces(48, 64, steps=2)  # of sparse rows, by tiles of tokens: see `sparsec.kernels.row_groups`
_PIECES: Mapping[str, Pieces] = {  # by the kernel's name behind its arithmetic's; _TILES of the others
    "linear_csr": _GROUPS,
    "linear_blocked": _GROUPS,
    "linear_gathered": _BYTE_ROWS,
    "linear_split": _GROUPS,
    "linear_amx": Pieces(32, 32),
    "linear_amx_bitmap": Pieces(16, 64),
    "linear_amx_gathered": _BYTE_ROWS,
}


def cores_at_work(kernel: str, problem: Problem, threads: int) -> float:
    """How many of so many cores compute, in the mean: the last pieces of a step may be fewer than threads."""
    pieces = _count(_pieces(kernel), problem)
    return pieces / math.ceil(pieces / threads)


def waiting_ns(kernel: str, problem: Problem, threads: int) -> float:
    """Nanoseconds in which threads wait for each other, and for lines of x."""
    single = isinstance(problem, LinearProblem) and problem.tokens == 1  # there is nothing to be copied
    pieces = _pieces(kernel)
    steps = 1 if single else pieces.steps
    size = element_bytes(problem.arithmetic.stored) * input_elements(problem)
    if pieces.filled and isinstance(problem, LinearProblem):
        size = math.ceil(problem.tokens / pieces.columns) * pieces.columns * problem.inputs
    return (STEP_NS * steps if threads > 1 else 0.0) + _SHARED_NS[steps] * size / LINE * (threads - 1)


def _pieces(kernel: str) -> Pieces:
    return _PIECES.get(kernel.partition("_")[2], _TILES)


def _count(piece: Pieces, problem: Problem) -> int:
    """Pieces of a problem, at least one."""
    match problem:
        case ConvProblem():
            groups, rows, columns = problem.batch * problem.groups, problem.filters // problem.groups, problem.pixels
        case LinearProblem():
            groups, rows, columns = 1, problem.outputs, problem.tokens
        case MatmulProblem():
            groups, rows, columns = problem.batch, problem.columns, problem.rows
        case AttentionProblem():
            groups, rows, columns = problem.matrices, problem.size, problem.queries
    return max(groups * math.ceil(rows / piece.rows) * math.ceil(columns / piece.columns), 1)
