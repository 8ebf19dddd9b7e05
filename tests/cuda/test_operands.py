"""What kernels are told of results."""

from __future__ import annotations

import pytest

from sparsec.cuda.products.operands import Results


@pytest.mark.parametrize(
    ("address", "stride", "wide"), [(64, 128, 1), (64, 136, 1), (64, 130, 0), (66, 128, 0), (72, 128, 0)]
)
def test_sixteen_bytes_at_a_time_are_written_where_all_rows_allow_it(address: int, stride: int, wide: int) -> None:
    output = Results(address, stride, 100, 0, 0).output(7)
    assert (output.y, output.stride, output.m, output.tokens, output.wide) == (address, stride, 100, 7, wide)


@pytest.mark.parametrize(("address", "stride", "wide"), [(0, 0, 1), (160, 104, 1), (160, 103, 0), (168, 104, 0)])
def test_what_is_added_is_read_so_too(address: int, stride: int, wide: int) -> None:
    output = Results(64, 128, 100, 0, 0, address, stride).output(7, 256)
    assert (output.residual or 0, output.residual_stride, output.row_scales, output.wide) == (
        address,
        stride,
        256,
        wide,
    )


def test_a_part_begins_with_its_first_token() -> None:
    part = Results(64, 128, 100, 8, 1, 1024, 104, 4096).part(10)
    assert (part.address, part.residual, part.token_scales) == (64 + 20 * 128, 1024 + 20 * 104, 4096 + 40)
    assert (part.bias, part.stride, part.residual_stride) == (8, 128, 104)
    bare = Results(64, 128, 100, 0, 0).part(10)
    assert (bare.residual, bare.token_scales) == (0, 0)
