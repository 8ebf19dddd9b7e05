"""Group-sparse streams of four bits hold the numbers and the scales that were put in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matrices import groups_of_four_bits

from sparsec.cuda.streams import partition
from sparsec.cuda.streams.w4_group_streams import W4GroupStreams
from sparsec.errors import InputError


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 1100),
    st.integers(1, 700),
    st.integers(1, 5),
    st.sampled_from([0, 1 << 60]),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.integers(0, 1 << 30),
)
def test_streams_round_trip(
    monkeypatch: pytest.MonkeyPatch, m: int, k: int, workers: int, large: int, density: float, seed: int
) -> None:
    monkeypatch.setattr(partition, "LARGE", large)
    numbers, scales = groups_of_four_bits(m, k, density, seed)
    streams = W4GroupStreams.encode(numbers, scales, workers)
    decoded = streams.decode()
    assert np.array_equal(decoded[0], numbers)
    assert np.array_equal(decoded[1], scales)
    assert np.diff(streams.offsets).max() == streams.step_units


def test_half_of_the_groups_are_290_thousandths_of_a_byte_an_element() -> None:
    numbers, scales = groups_of_four_bits(1024, 4096, 0.5, 0)
    assert W4GroupStreams.encode(numbers, scales, 4).nbytes == pytest.approx(0.291 * numbers.size, rel=0.01)


def test_what_has_no_place_is_refused() -> None:
    numbers, scales = groups_of_four_bits(64, 256, 0.5, 0)
    with pytest.raises(InputError, match="not numbers of four bits"):
        W4GroupStreams.encode(numbers, scales[:, :1], 1)
    with pytest.raises(InputError, match="not numbers of four bits"):
        W4GroupStreams.encode(np.full_like(numbers, 8), scales, 1)
