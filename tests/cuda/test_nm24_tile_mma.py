"""Products of many tokens are cut up whole where there are no products of warpgroups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import two_of_four, unstructured

from sparsec.cuda.products.nm24_tile_mma import ROWS, TOKENS, stream_tiling
from sparsec.cuda.streams.lane_streams import LaneStreams
from sparsec.cuda.streams.nm24_byte_streams import Nm24ByteStreams
from sparsec.cuda.streams.nm24_streams import Nm24Streams


@settings(max_examples=20)
@given(st.integers(65, 5000), st.integers(1, 600), st.sampled_from([99 << 10, 163 << 10, 227 << 10]), st.booleans())
def test_all_tiles_are_done_and_fit(tokens: int, m: int, shared_bytes: int, eight: bool) -> None:
    bits = two_of_four(m, 128, 0)
    streams = Nm24ByteStreams.encode((bits >> 8).astype(np.uint8), 4) if eight else Nm24Streams.encode(bits, 4)
    tiling = stream_tiling(streams, tokens, shared_bytes)
    assert tiling is not None
    rows, columns = tiling.grid
    assert rows * ROWS >= m > (rows - 1) * ROWS
    assert columns * TOKENS >= tokens > (columns - 1) * TOKENS
    assert tiling.stages >= 2
    assert tiling.shared_bytes <= shared_bytes


@pytest.mark.parametrize("tokens", [1, 64])
def test_few_tokens_are_for_streams(tokens: int) -> None:
    assert stream_tiling(Nm24Streams.encode(two_of_four(64, 64, 0), 4), tokens, 99 << 10) is None


def test_other_streams_have_no_tiles() -> None:
    assert stream_tiling(LaneStreams.encode(unstructured(64, 64, 0.5, 0), 4), 500, 99 << 10) is None
