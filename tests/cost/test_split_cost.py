"""Bundles of rows are predicted to pay where many columns have several nonzeros, and not where few have."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.cost_cells import MIXED
from sparsec.cost.machine import GENERIC
from sparsec.cost.model import predict
from sparsec.formats.facts import facts_of
from sparsec.kernels.isa import AVX512
from sparsec.kernels.problem import LinearProblem


def gain(kept: NDArray[np.bool_], tokens: int) -> float:
    """How many times as fast the split weight is as CSR."""
    problem, facts = LinearProblem(tokens, kept.shape[1], kept.shape[0]), facts_of(kept.astype(np.float32))
    csr, split = (predict(f"f32_linear_{name}", problem, facts, AVX512, GENERIC) for name in ("csr", "split"))
    return csr / split


@pytest.mark.parametrize("tokens", [32, 64, 100, 384])
def test_unstructured(tokens: int) -> None:
    random = np.random.default_rng(0).random((768, 768))
    gains = [gain(random > zeros, tokens) for zeros in (0.5, 0.6, 0.7, 0.9)]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 1.1
    assert gains[-1] <= 1


def test_blocks_of_rows_of_different_density() -> None:
    random = np.random.default_rng(0)
    density = np.repeat(random.permutation(np.linspace(0.02, 0.6, 24)), 32)[:, None]
    assert gain(random.random((768, 768)) < density, 128) > 1.05


@pytest.mark.parametrize("tokens", [32, 128, 384])
@pytest.mark.parametrize("pattern", [name for name in MIXED if name != "outlier rows"])
def test_mixtures(pattern: str, tokens: int) -> None:
    random = np.random.default_rng(0)
    kept = random.random((768, 768)) < 0.05
    assert gain(kept, tokens) <= 1
    assert gain(kept | MIXED[pattern](768, 768, random), tokens) > 1.05


def test_empty_and_full() -> None:
    assert gain(np.zeros((64, 128), dtype=bool), 32) == 1
    assert gain(np.ones((64, 128), dtype=bool), 32) > 1.2
