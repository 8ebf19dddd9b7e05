"""Rows made up for tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.peers.race import Timing
from bench.spmm_cells import Cell
from bench.spmm_rows import OURS, Row

CELL = Cell(64, 32, 16, "unstructured", 0.9)


def _timing(ratio: float) -> Timing:
    return Timing(1000 * ratio, 900 * ratio, 1100 * ratio, ratio, ratio, ratio)


def _row(cell: Cell = CELL, *, settled: bool = True, **peers: float) -> Row:
    return Row(
        cell=cell,
        nonzeros=100,
        flops=3200,
        bytes=1000,
        format="csr",
        kernels=("kernel",),
        reason="a reason",
        predicted_ns=900.0,
        compile_seconds=0.5,
        rounds=9,
        settled=settled,
        idle=0.0,
        roof_gflops=6.4,
        timings={OURS: _timing(1.0), **{name: _timing(ratio) for name, ratio in peers.items()}},
        errors={OURS: 1e-6},
        failed={},
    )


@pytest.fixture
def row() -> Callable[..., Row]:
    """Makes a row in which we take 1000 ns and each peer as many times as long as is said."""
    return _row
