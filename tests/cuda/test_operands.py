"""What kernels are told of results."""

from __future__ import annotations

import pytest

from sparsec.cuda.operands import Results


@pytest.mark.parametrize(
    ("address", "stride", "wide"), [(64, 128, 1), (64, 136, 1), (64, 130, 0), (66, 128, 0), (72, 128, 0)]
)
def test_sixteen_bytes_at_a_time_are_written_where_all_rows_allow_it(address: int, stride: int, wide: int) -> None:
    output = Results(address, stride, 100, 0, 0).output(7)
    assert (output.y, output.stride, output.m, output.tokens, output.wide) == (address, stride, 100, 7, wide)
