"""What is run on several threads: layers of more than 10 MFLOP on their nonzeros, skewed ones among them, and networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.peers.network import PLAIN
from bench.peers.onnx_layer import onnx_layer
from bench.peers.peer import F32, Array, Layer
from bench.sparse_models_rows import ModelCell
from bench.sparse_zoo import feeds_of
from bench.spmm_cells import UNSTRUCTURED, Cell, make_layer
from bench.variants import cells_of, variant

LEAST_FLOPS = 10_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """`make` gives the ONNX model and what goes in; `flops` are two per nonzero and token, None for a network."""

    name: str
    flops: int | None
    make: Callable[[], tuple[Path | bytes, Mapping[str, Array]]]


def one_row(m: int, k: int, random: np.random.Generator) -> F32:
    """One dense row among empty ones: only the tokens are left to share."""
    weight = np.zeros((m, k), np.float32)
    weight[m // 3] = random.standard_normal(k, np.float32)
    return weight


def few_rows(m: int, k: int, random: np.random.Generator) -> F32:
    """One dense row in 32, all in the first quarter, and 1 % nonzeros in the others."""
    weight = random.standard_normal((m, k), np.float32)
    kept = random.random((m, k)) < 0.01
    kept[: m // 4 : 8] = True
    return np.where(kept, weight, np.float32(0))


def falling(m: int, k: int, random: np.random.Generator) -> F32:
    """Row i keeps a share of 1 / (1 + i / 16)."""
    share = 1 / (1 + np.arange(m)[:, None] / 16)
    return np.where(random.random((m, k)) < share, random.standard_normal((m, k), np.float32), np.float32(0))


SKEWED: Mapping[str, Callable[[int, int, np.random.Generator], F32]] = {
    "one dense row": one_row,
    "few dense rows": few_rows,
    "falling density": falling,
}
_SKEWED_SHAPES = {
    "one dense row": (256, 4096, 2048),
    "few dense rows": (3072, 768, 128),
    "falling density": (1024, 1024, 128),
}
_SHAPES = ((768, 768, 128), (3072, 768, 128), (768, 3072, 128), (1024, 4096, 128), (768, 768, 512), (4096, 1024, 384))
_PATTERNS = (
    ("unstructured", 0.8),
    ("unstructured", 0.9),
    ("4x1", 0.8),
    ("4x1", 0.9),
    ("2:4", 0.5),
    ("unstructured", 0.0),
)


def layer_cases() -> tuple[Case, ...]:
    """Those of the grid and the skewed ones that are large enough."""
    cells = (Cell(m, k, n, pattern, zeros) for m, k, n in _SHAPES for pattern, zeros in _PATTERNS)
    regular = [Case(str(cell), _flops(cell), lambda cell=cell: _ready(make_layer(cell))) for cell in cells]  # type: ignore[misc]
    return tuple(case for case in (*regular, *map(_skewed, SKEWED)) if (case.flops or 0) >= LEAST_FLOPS)


def network_cases(names: tuple[str, ...]) -> tuple[Case, ...]:
    """Each network at 90 %, unstructured, or with the zeros that it came with."""
    cells = cells_of(names, (1,), (UNSTRUCTURED,), (0.9,), "fp32", 1)
    return tuple(Case(str(cell), None, lambda cell=cell: _network(cell)) for cell in cells)  # type: ignore[misc]


def _flops(cell: Cell) -> int:
    return round(2 * cell.m * cell.k * (1 - cell.sparsity) * cell.n)


def _skewed(name: str) -> Case:
    m, k, n = _SKEWED_SHAPES[name]

    def layer() -> Layer:
        random = np.random.default_rng(0)
        weight, x = SKEWED[name](m, k, random), random.standard_normal((k, n), np.float32)
        return Layer(weight, x, np.ascontiguousarray(x.T))

    return Case(f"{m}x{k}x{n} {name}", 2 * n * int(np.count_nonzero(layer().weight)), lambda: _ready(layer()))


def _ready(layer: Layer) -> tuple[bytes, Mapping[str, Array]]:
    return onnx_layer(layer), {"x": layer.tokens}


def _network(cell: ModelCell) -> tuple[Path, Mapping[str, Array]]:
    path = variant(cell, PLAIN)
    return path, feeds_of(path)
