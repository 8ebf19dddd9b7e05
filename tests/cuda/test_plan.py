"""Weights of plans, as bits or as nonzeros and a bitmap."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sparsec.cuda.network.plan import DeviceWeight

_BITS = st.one_of(st.just(0), st.integers(0, 0xFFFF))


@given(arrays(np.uint16, array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=9), elements=_BITS))
def test_bits_come_back_but_for_minus_zero(bits: np.ndarray) -> None:
    weight = DeviceWeight.of("w", bits, "float16", None)
    expected = np.where(bits == 0x8000, 0, bits) if weight.bitmap is not None else bits
    np.testing.assert_array_equal(weight.bits(), expected)


def test_the_shorter_form_is_kept() -> None:
    bits = np.zeros((64, 64), np.uint16)
    bits[::2] = 0x3C00
    weight = DeviceWeight.of("w", bits, "float16", "unstructured")
    assert weight.bitmap is not None
    assert weight.values.size == bits.size // 2
    assert DeviceWeight.of("w", np.full((64, 64), 0x3C00, np.uint16), "float16", None).bitmap is None
