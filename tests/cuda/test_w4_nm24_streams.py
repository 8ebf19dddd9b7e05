"""2:4 streams of four bits hold the numbers and the scales that were put in; rounding is to the nearest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matrices import quantized

from sparsec.cuda.streams import partition
from sparsec.cuda.streams.four_bits import GROUP, dequantize, quantize
from sparsec.cuda.streams.w4_nm24_streams import W4Nm24Streams
from sparsec.errors import InputError, ModelError


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 1100), st.integers(1, 700), st.integers(1, 5), st.sampled_from([0, 1 << 60]), st.integers(0, 1 << 30)
)
def test_streams_round_trip(
    monkeypatch: pytest.MonkeyPatch, m: int, k: int, workers: int, large: int, seed: int
) -> None:
    monkeypatch.setattr(partition, "LARGE", large)
    numbers, scales = quantized(m, k, seed)
    decoded = W4Nm24Streams.encode(numbers, scales, workers).decode()
    assert np.array_equal(decoded[0], numbers)
    assert np.array_equal(decoded[1], scales)


def test_streams_have_thirteen_bits_for_32_of_dense() -> None:
    streams = W4Nm24Streams.encode(*quantized(1024, 4096, 0), 4)
    assert streams.nbytes == 1024 * 4096 * 13 // 32


@given(st.integers(1, 5), st.integers(1, 300), st.integers(0, 1 << 30))
def test_values_are_rounded_to_the_nearest(m: int, k: int, seed: int) -> None:
    weight = np.random.default_rng(seed).standard_normal((m, k)).astype(np.float32)
    weight[:, k // 2 :] = 0
    numbers, scales = quantize(weight)
    assert scales.shape == (m, -(-k // GROUP))
    assert (numbers[weight == 0] == 0).all()
    error = np.abs(dequantize(numbers, scales) - weight)
    assert (error <= np.repeat(scales, GROUP, axis=1)[:, :k] * 0.5001).all()


def test_what_has_no_place_is_refused() -> None:
    numbers, scales = quantized(64, 256, 0)
    with pytest.raises(InputError, match="not numbers of four bits"):
        W4Nm24Streams.encode(numbers, scales[:, :1], 1)
    with pytest.raises(InputError, match="not numbers of four bits"):
        W4Nm24Streams.encode(np.full_like(numbers, 8), scales, 1)
    with pytest.raises(ModelError, match="not 2:4"):
        W4Nm24Streams.encode(np.ones_like(numbers), scales, 1)
    with pytest.raises(InputError, match="not numbers of four bits"):
        W4Nm24Streams.encode(numbers[:0], scales[:0], 1)
    with pytest.raises(InputError, match=r"expected: int8|int8 \[m, k\]"):
        W4Nm24Streams.encode(numbers.astype(np.float32), scales, 1)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="float64"):
        W4Nm24Streams.encode(numbers, scales.astype(np.float64), 1)  # type: ignore[arg-type]
