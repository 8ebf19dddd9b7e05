"""The grid: which cells there are, and that masks keep their promise."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bench.spmm_cells import PATTERNS, QUICK, SHAPES, SPARSITIES, TOKENS, Cell, grid, make_layer, make_mask, sample
from sparsec.errors import UsageError


def test_the_public_grid_has_every_combination_and_one_sparsity_for_2_of_4() -> None:
    cells = grid(SHAPES, TOKENS, PATTERNS, SPARSITIES)
    assert len(cells) == len(set(cells)) == 9 * 6 * (4 * 5 + 1)
    assert {cell.sparsity for cell in cells if cell.pattern == "2:4"} == {0.5}


def test_the_quick_grid_is_a_dozen_cells_that_fit_their_shapes() -> None:
    assert len(set(QUICK)) == 12
    for cell in QUICK:
        assert grid([(cell.m, cell.k)], [cell.n], [cell.pattern], [cell.sparsity]) == (cell,)


@pytest.mark.parametrize("pattern", ["unstructured", "4x1", "1x4", "16x1", "4x4"])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.95, 1.0])
def test_blocks_are_whole_and_as_many_as_asked_for(pattern: str, sparsity: float) -> None:
    rows, columns = (1, 1) if pattern == "unstructured" else map(int, pattern.split("x"))
    mask = make_mask(Cell(64, 32, 1, pattern, sparsity), np.random.default_rng(0))
    blocks = mask.reshape(64 // rows, rows, 32 // columns, columns).sum(axis=(1, 3))
    assert set(np.unique(blocks)) <= {0, rows * columns}
    assert np.count_nonzero(blocks) == round(blocks.size * (1 - sparsity))


@pytest.mark.parametrize(("kept", "group"), [(1, 4), (2, 4), (4, 8), (3, 3)])
def test_n_of_m_keeps_n_in_each_group_along_k(kept: int, group: int) -> None:
    (cell,) = grid([(8, 24)], [1], [f"{kept}:{group}"], SPARSITIES)
    mask = make_mask(cell, np.random.default_rng(0))
    assert (mask.reshape(8, -1, group).sum(axis=2) == kept).all()
    assert 1 - mask.mean() == pytest.approx(cell.sparsity)


def test_a_layer_is_the_same_each_time_and_has_x_both_ways() -> None:
    cell = Cell(16, 8, 4, "unstructured", 0.5)
    one, other = make_layer(cell), make_layer(cell)
    assert np.array_equal(one.weight, other.weight)
    assert np.count_nonzero(one.weight) == 64
    assert np.array_equal(one.x.T, one.tokens)
    assert one.tokens.flags.c_contiguous


@pytest.mark.parametrize("pattern", ["4", "0x1", "4:2", "x", "dense"])
def test_unknown_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(UsageError):
        grid([(16, 16)], [1], [pattern], [0.5])


@pytest.mark.parametrize(("n", "sparsity"), [(0, 0.5), (-1, 0.5), (1, 1.5), (1, -0.1)])
def test_sizes_and_sparsities_out_of_range_are_refused(n: int, sparsity: float) -> None:
    with pytest.raises(UsageError):
        grid([(16, 16)], [n], ["unstructured"], [sparsity])


@pytest.mark.parametrize("pattern", ["3x1", "1x3", "1:3"])
def test_blocks_that_do_not_divide_a_shape_are_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="divide"):
        grid([(16, 16)], [1], [pattern], [0.5])


def test_every_beginning_of_a_sample_is_spread_over_the_grid() -> None:
    cells = grid(SHAPES, TOKENS, PATTERNS, SPARSITIES)
    strata = {(cell.pattern, cell.sparsity, cell.n) for cell in cells}
    for count in (1, 126, 250, 252, 1134, 2000):
        found = sample(cells, count)
        assert len(found) == len(set(found)) == min(count, 1134)
        assert sample(cells, count + 5)[:count] == found[:count]
        met = Counter((cell.pattern, cell.sparsity, cell.n) for cell in found)
        assert len(met) == min(count, len(strata))
        assert max(met.values()) - min(met.values()) <= 1
    shapes = Counter((cell.m, cell.k) for cell in sample(cells, 252))
    assert min(shapes.values()) >= 26
    assert len(shapes) == 9


def test_cells_of_another_precision_are_others_with_the_same_layer() -> None:
    (one,) = grid([(32, 16)], [8], ["4x1"], [0.5])
    (other,) = grid([(32, 16)], [8], ["4x1"], [0.5], "int8")
    assert one != other
    assert str(other) == "32x16x8 4x1 0.5 int8"
    assert np.array_equal(make_layer(one).weight, make_layer(other).weight)
