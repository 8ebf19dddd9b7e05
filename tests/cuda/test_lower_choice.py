"""Patterns of weights of whole networks."""

from __future__ import annotations

import numpy as np
import pytest

from sparsec.cuda.network.lower_choice import Reference, choose_pattern


def _bits(m: int, k: int, zeros: float) -> np.ndarray:
    generator = np.random.default_rng(0)
    return np.where(generator.random((m, k)) < zeros, 0, 0x3C00).astype(np.uint16)


def _two_of_four(m: int, k: int) -> np.ndarray:
    bits = np.full((m, k), 0x3C00, np.uint16)
    bits[:, ::2] = 0
    return bits


def test_dense_weights_stay_dense() -> None:
    choice = choose_pattern(_bits(64, 64, 0.0), 8, Reference())
    assert (choice.pattern, [each.kernel for each in choice.candidates]) == (None, ["dense_mma"])


@pytest.mark.parametrize("zeros", [0.5, 0.7, 0.95])
def test_large_weights_with_zeros_are_sparse_for_few_tokens(zeros: float) -> None:
    choice = choose_pattern(_bits(8192, 4096, zeros), 1, Reference())
    assert choice.pattern == "unstructured"
    assert "times as fast as dense" in choice.reason


def test_small_weights_stay_dense_and_say_why() -> None:
    choice = choose_pattern(_bits(64, 64, 0.9), 1, Reference())
    assert choice.pattern is None
    assert "times as long" in choice.reason


@pytest.mark.parametrize("tokens", [1, 4096])
def test_two_of_four_pays_for_few_tokens_and_for_many(tokens: int) -> None:
    assert choose_pattern(_two_of_four(8192, 8192), tokens, Reference()).pattern == "2:4"


def test_zeros_that_are_not_to_be_used() -> None:
    choice = choose_pattern(_two_of_four(4096, 4096), 1, Reference(), dense_only=True)
    assert choice.pattern is None
    assert {each.refusal for each in choice.candidates[1:]} == {"zeros are not to be used"}
