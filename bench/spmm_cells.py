"""The grid: shapes, numbers of tokens, patterns and sparsities, and the random layer of each cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.peers.peer import F32, Layer
from sparsec.errors import UsageError

SHAPES = (
    *((256, 256), (1024, 256), (256, 1024), (768, 768), (3072, 768), (768, 3072)),
    *((1024, 1024), (4096, 1024), (1024, 4096)),
)
TOKENS = (32, 64, 100, 128, 384, 512)
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
UNSTRUCTURED = "unstructured"
PATTERNS = (UNSTRUCTURED, "4x1", "1x4", "16x1", "2:4")

_BLOCK = re.compile(r"([1-9]\d*)x([1-9]\d*)")
_N_OF_M = re.compile(r"([1-9]\d*):([1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Cell:
    """One layer Y [M, N] = W [M, K] X [K, N]; `sparsity` is the share of zeros in W.

    `pattern` is "unstructured", blocks of "RxC" (rows of M by columns of K), or "N:M" (N nonzeros in each M along K).
    """

    m: int
    k: int
    n: int
    pattern: str
    sparsity: float
    precision: str = "fp32"

    def __str__(self) -> str:
        words = f"{self.m}x{self.k}x{self.n} {self.pattern} {self.sparsity:.4g}"
        return words if self.precision == "fp32" else f"{words} {self.precision}"


def grid(
    shapes: Iterable[tuple[int, int]],
    tokens: Iterable[int],
    patterns: Iterable[str],
    sparsities: Iterable[float],
    precision: str = "fp32",
) -> tuple[Cell, ...]:
    """All combinations, each once: a pattern N:M has a sparsity of its own, whatever was asked for.

    Raises `UsageError` for an unknown pattern and for blocks that do not divide a shape.
    """
    tokens, patterns, sparsities = tuple(tokens), tuple(patterns), tuple(sparsities)
    cells: dict[Cell, None] = {}
    for m, k in shapes:
        for n in tokens:
            for pattern in patterns:
                for sparsity in _sparsities(pattern, sparsities):
                    cell = Cell(m, k, n, pattern, sparsity, precision)
                    _check(cell)
                    cells[cell] = None
    return tuple(cells)


def sample(cells: Sequence[Cell], count: int) -> tuple[Cell, ...]:
    """`count` of the cells, the same for the same grid, in an order whose every beginning is a fair sample.

    Strata are pattern, sparsity and N; each gives one cell before any gives two. Shapes take turns over the strata.
    """
    random = np.random.default_rng(0)
    strata: dict[tuple[str, float, int], list[Cell]] = {}
    for cell in cells:
        strata.setdefault((cell.pattern, cell.sparsity, cell.n), []).append(cell)
    mixed = [list(strata.values())[index] for index in random.permutation(len(strata))]
    longest = max((len(each) for each in mixed), default=0)
    turns = random.permutation(longest)
    found = [
        each[(turns[turn] + number) % len(each)]
        for turn in range(longest)
        for number, each in enumerate(mixed)
        if turn < len(each)
    ]
    return tuple(dict.fromkeys(found))[:count]


# About one minute: one change at a time from the middle of the grid, and its corners.
QUICK = (
    *(Cell(768, 768, 128, UNSTRUCTURED, sparsity) for sparsity in (0.5, 0.8, 0.9)),
    *(Cell(768, 768, 128, pattern, 0.9) for pattern in ("4x1", "1x4", "16x1")),
    Cell(768, 768, 128, "2:4", 0.5),
    *(Cell(768, 768, n, UNSTRUCTURED, 0.9) for n in (32, 384)),
    Cell(256, 256, 128, UNSTRUCTURED, 0.7),
    Cell(3072, 768, 128, UNSTRUCTURED, 0.95),
    Cell(1024, 4096, 100, UNSTRUCTURED, 0.8),
)


def make_layer(cell: Cell) -> Layer:
    """Normal weights and activations, the same for the same cell."""
    random = np.random.default_rng([cell.m, cell.k, cell.n, round(10_000 * cell.sparsity)])
    weight = random.standard_normal((cell.m, cell.k), np.float32)
    weight[~make_mask(cell, random)] = 0
    x: F32 = random.standard_normal((cell.k, cell.n), np.float32)
    return Layer(weight, x, np.ascontiguousarray(x.T))


def make_mask(cell: Cell, random: np.random.Generator) -> NDArray[np.bool_]:
    """Where nonzeros are, [M, K]: a random choice among all that the pattern and the sparsity allow."""
    if match := _N_OF_M.fullmatch(cell.pattern):
        kept, group = map(int, match.groups())
        ranks = random.random((cell.m, cell.k // group, group)).argsort(axis=2).argsort(axis=2)
        return np.asarray((ranks < kept).reshape(cell.m, cell.k))
    rows, columns = block_of(cell.pattern)
    blocks = np.zeros(cell.m // rows * (cell.k // columns), np.bool_)
    blocks[random.permutation(blocks.size)[: round(blocks.size * (1 - cell.sparsity))]] = True
    return blocks.reshape(cell.m // rows, -1).repeat(rows, axis=0).repeat(columns, axis=1)


def _sparsities(pattern: str, asked: tuple[float, ...]) -> tuple[float, ...]:
    if match := _N_OF_M.fullmatch(pattern):
        kept, group = map(int, match.groups())
        return (1 - kept / group,)
    return asked


def block_of(pattern: str) -> tuple[int, int]:
    """Rows and columns of the blocks of a pattern; raises `UsageError` for what is no pattern of blocks."""
    if pattern == UNSTRUCTURED:
        return 1, 1
    match = _BLOCK.fullmatch(pattern)
    if match is None:
        raise UsageError(
            "There is no such pattern.", expected="unstructured, blocks like 4x1, or N:M like 2:4", got=pattern
        )
    return int(match[1]), int(match[2])


def _check(cell: Cell) -> None:
    match = _N_OF_M.fullmatch(cell.pattern)
    rows, columns = (1, int(match[2])) if match else block_of(cell.pattern)
    if match and int(match[1]) > columns:
        raise UsageError("A pattern N:M keeps N of M.", expected="N <= M", got=cell.pattern)
    if min(cell.m, cell.k, cell.n) < 1 or not 0 <= cell.sparsity <= 1:
        raise UsageError("There is no such cell.", expected="sizes from 1, sparsity from 0 to 1", got=str(cell))
    if cell.m % rows or cell.k % columns:
        raise UsageError("The blocks do not divide the shape.", expected=cell.pattern, got=f"{cell.m}x{cell.k}")
