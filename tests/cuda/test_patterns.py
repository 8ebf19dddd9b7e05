"""Patterns have names; matrices that have them are told from those that have not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import unstructured

from sparsec.cuda.streams.nm24_tiles import Nm24Tiles
from sparsec.cuda.streams.patterns import Blocks, Groups, Unstructured, check, parse
from sparsec.errors import InputError, ModelError


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("1:2", Groups(1, 2)),
        ("1:4", Groups(1, 4)),
        ("2:4", Groups(2, 4)),
        ("3:4", Groups(3, 4)),
        ("2:6", Groups(2, 6)),
        ("2:8", Groups(2, 8)),
        ("4:8", Groups(4, 8)),
        ("64:2:8", Groups(2, 8, 64)),
    ],
)
def test_groups_have_names(name: str, pattern: Groups) -> None:
    assert parse(name) == pattern


def test_blocks_have_names() -> None:
    assert parse("unstructured") == Unstructured()
    assert parse("block:64x32") == Blocks(64, 32)


@pytest.mark.parametrize(
    "name", ["", "2", "2:", "4:4", "0:4", "2:4:8:16", "0:2:8", "64:2:4", "64:5:8", "block:0x4", "block:4"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="no such pattern"):
        parse(name)


@settings(max_examples=30)
@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 9), st.integers(2, 17), st.integers(0, 1 << 30))
def test_a_matrix_has_the_pattern_of_its_fullest_group(m: int, k: int, n: int, columns: int, seed: int) -> None:
    bits = unstructured(m, k, 0.3, seed)
    padded = np.pad(bits != 0, ((0, 0), (0, -k % columns)))
    fullest = int(padded.reshape(m, -1, columns).sum(axis=2).max())
    if fullest <= n:
        check(bits, Groups(n, columns))
    else:
        with pytest.raises(ModelError, match="has not the pattern"):
            check(bits, Groups(n, columns))


def test_rows_share_their_columns() -> None:
    bits = np.zeros((70, 16), dtype=np.uint16)
    bits[:64:2, [8, 11]] = bits[1:64:2, [9, 15]] = 1
    check(bits, Groups(2, 8, 64))
    bits[33, 9], bits[33, 10] = 0, 0x8001
    with pytest.raises(ModelError, match="has not the pattern") as caught:
        check(bits, Groups(2, 8, 64))
    assert caught.value.where == "row 0, columns 8 and on"
    assert caught.value.got == "5 columns in use"


def test_one_of_four_is_two_of_four() -> None:
    bits = np.tile(np.array([0, 0, 7, 0], np.uint16), (70, 20))
    assert np.array_equal(Nm24Tiles.encode(bits).decode(), bits)
