"""Dense panels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparsec.formats.dense import pack_panels, unpack_panels


def test_panels_hold_outputs_side_by_side() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert pack_panels(matrix, [0, 2, 4]).tolist() == [0, 2, 1, 3, 4, 0, 5, 0]


@given(st.integers(1, 9), st.integers(0, 5), st.lists(st.integers(1, 4), max_size=5))
def test_unpacking_restores_the_matrix(outputs: int, depth: int, widths: list[int]) -> None:
    starts = np.cumsum([0, *widths]).tolist()
    while starts[-1] < outputs:
        starts.append(starts[-1] + 3)
    matrix = np.random.default_rng(0).standard_normal((outputs, depth)).astype(np.float32)
    np.testing.assert_array_equal(unpack_panels(pack_panels(matrix, starts), outputs, starts), matrix)
