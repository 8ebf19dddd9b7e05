"""What is not a weight, a pattern or a product is refused, before a GPU is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparsec.cuda.products.product import prepare
from sparsec.cuda.products.weights import compress, compress_int4, compress_quantized
from sparsec.errors import InputError


def test_other_patterns_are_refused() -> None:
    with pytest.raises(InputError, match=r"no such pattern(.|\n)*N:M(.|\n)*banded"):
        compress(np.ones((4, 4), np.float16), "banded")


@pytest.mark.parametrize("weight", [[[1.0]], np.ones((2, 2), np.float32), np.ones((0, 8), np.float16)])
def test_what_is_not_a_matrix_of_16_bits_is_refused(weight: object) -> None:
    with pytest.raises(InputError):
        compress(weight)


@pytest.mark.parametrize("kind", ["float32", "float8_e4m3fn", "int8"])
def test_torch_tensors_of_other_types_are_refused(kind: str) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(InputError, match=kind):
        compress(torch.zeros(4, 4, dtype=getattr(torch, kind)))


def test_weights_of_eight_bits_are_two_of_four() -> None:
    with pytest.raises(InputError, match="no such products of eight bits"):
        compress(np.zeros((4, 4), np.int8), "1:4")
    with pytest.raises(InputError, match="no such products of eight bits"):
        compress(np.zeros((4, 4), np.int8), "2:4", out="float32")
    with pytest.raises(InputError, match="a scale for each row"):
        compress(np.zeros((4, 4), np.int8), "2:4", scales=np.ones(3, np.float32))
    with pytest.raises(InputError, match="Only weights of eight bits have scales"):
        compress(np.zeros((4, 4), np.float16), "2:4", scales=np.ones(4, np.float32))
    with pytest.raises(InputError, match="Only 16-bit weights are rounded"):
        compress_int4(np.zeros((4, 4), np.int8))


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_four_bits_are_for_finite_values(value: float) -> None:
    weight = np.zeros((4, 128), np.float16)
    weight[1, 5] = value
    with pytest.raises(InputError, match="Infinity and NaN"):
        compress_int4(weight)


def test_numbers_of_four_bits_are_for_products_of_16_bits() -> None:
    with pytest.raises(InputError, match="no products of this type"):
        compress_quantized(np.zeros((4, 128), np.int8), np.ones((4, 1), np.float32), "float32")


def test_other_activations_are_not_prepared() -> None:
    weight: Any = type("Weight", (), {"shape": (4, 8)})
    activation: Any = "tanh"
    with pytest.raises(InputError, match="no such activation"):
        prepare(weight, 8, activation=activation)
    prepare(weight, 0)  # there is nothing to do
