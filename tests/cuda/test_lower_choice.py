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


@pytest.mark.parametrize(("m", "k"), [(768, 768), (2304, 768), (3072, 768), (768, 3072)])
def test_two_of_four_pays_in_layers_of_bert(m: int, k: int) -> None:
    """Of 4096 tokens, where 1.15 to 1.27 times the speed of cuBLAS was measured (`python -m bench cuda --many`)."""
    assert choose_pattern(_two_of_four(m, k), 4096, Reference()).kernel == "nm24_wgmma"


@pytest.mark.parametrize(("m", "k", "pixels"), [(64, 64, 56), (256, 64, 56), (512, 128, 28), (1024, 256, 14)])
def test_two_of_four_does_not_pay_where_images_take_most_of_the_time(m: int, k: int, pixels: int) -> None:
    """As was measured of 32 images of ResNet-50."""
    assert choose_pattern(_two_of_four(m, k), 32 * pixels**2, Reference()).pattern is None


def test_zeros_that_are_not_to_be_used() -> None:
    choice = choose_pattern(_two_of_four(4096, 4096), 1, Reference(), dense_only=True)
    assert choice.pattern is None
    assert {each.refusal for each in choice.candidates[1:]} == {"zeros are not to be used"}
