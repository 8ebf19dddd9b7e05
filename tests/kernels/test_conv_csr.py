"""Sparse convolution against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from expected import output_shape
from harness import compile_layer, host_isas, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layers import check_conv, convolutions, random_conv, square
from tails import TAILS, Tail

from sparsec.formats.coo import Coo
from sparsec.kernels import conv_columns, conv_csr
from sparsec.kernels.conv_columns import ConvColumns
from sparsec.kernels.conv_csr import ConvCsr
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.problem import Axis, ConvProblem, LinearProblem

KERNEL = ConvCsr()
problems = convolutions(9)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(problems, st.sampled_from(host_isas()), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_agrees_with_numpy(problem: ConvProblem, isa: Isa, density: float) -> None:
    check_conv(KERNEL, problem, *random_conv(problem, density), isa)


@pytest.mark.parametrize("isa", host_isas())
@pytest.mark.parametrize("size", [1, 2, 3, 7, 14, 16, 20, 29, 56])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_usual_maps(isa: Isa, size: int, kernel: int) -> None:
    problem = ConvProblem(1, 6, 10, 1, square(size, kernel))
    check_conv(KERNEL, problem, *random_conv(problem, 0.3), isa)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(problems, st.sampled_from(host_isas()), st.sampled_from(TAILS))
def test_epilogues(problem: ConvProblem, isa: Isa, tail: Tail) -> None:
    check_conv(KERNEL, problem, *random_conv(problem, 0.3), isa, tail)


@pytest.mark.parametrize("isa", host_isas())
@pytest.mark.parametrize(("size", "kernel"), [(1, 1), (7, 1), (14, 3)])
def test_a_row_sees_only_its_own_nonzeros(isa: Isa, size: int, kernel: int) -> None:
    """Infinity and NaN in channels that a filter does not read leave it alone, however its row was filled up."""
    problem = ConvProblem(1, 4, 4, 1, square(size, kernel))
    weight = np.zeros((4, 4, kernel, kernel), dtype=np.float32)
    for row in range(3):  # row r reads the channels 0 ... r; the last reads none
        weight[row, : row + 1] = 3.0
    _, x = random_conv(problem, 0.0)
    x[0, 1], x[0, 2] = np.inf, np.nan
    y = run(KERNEL, problem, {"x": x}, weight, isa=isa)
    assert np.isfinite(y[0, 0]).all()
    assert np.isposinf(y[0, 1]).all()
    assert np.isnan(y[0, 2]).all()
    assert (y[0, 3] == 0).all()


@pytest.mark.parametrize("isa", host_isas())
@pytest.mark.parametrize("size", [3, 4, 5, 7, 13, 14, 19, 27])
@pytest.mark.parametrize("batch", [1, 2])
def test_copies_with_aligned_vectors(isa: Isa, size: int, batch: int) -> None:
    problem = ConvProblem(batch, 6, 40, 1, (Axis(size, 1), Axis(size, 1)))
    check_conv(KERNEL, problem, *random_conv(problem, 0.4), isa)


def gathered(patch: pytest.MonkeyPatch, block: int, rows: int, units: int) -> None:
    """Gather columns also where that does not pay, in small blocks and groups."""
    patch.setattr(conv_columns, "BLOCK_BYTES", block)
    patch.setattr(conv_columns, "HELD_ROWS", rows)
    patch.setattr(conv_columns, "UNITS", units)
    patch.setattr(conv_csr, "_cycles", lambda schedule, csr: np.inf)


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(
    problems,
    st.sampled_from(host_isas()),
    st.sampled_from([0.1, 0.5, 1.0]),
    st.sampled_from([300, 4000, 32 << 10]),
    st.sampled_from([2, 512]),
    st.sampled_from([1, 4, 100]),
)
def test_gathered_columns(problem: ConvProblem, isa: Isa, density: float, block: int, rows: int, units: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        gathered(patch, block, rows, units)
        check_conv(KERNEL, problem, *random_conv(problem, density), isa)


@pytest.mark.parametrize("isa", host_isas())
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "dilation", "before"), [(3, 1, 1), (5, 2, 4), (2, 1, 0), (3, 3, 6), (1, 1, 0)])
def test_gathered_columns_leave_padding_out(isa: Isa, rank: int, kernel: int, dilation: int, before: int) -> None:
    """As many pixels as samples, so that masks stand for padding, which may be wider than the map."""
    after = dilation * (kernel - 1) - before
    problem = ConvProblem(
        2, 4, 6, 2, tuple(Axis(size, kernel, 1, dilation, before, after) for size in (3, 5, 7)[-rank:])
    )
    weight, x = random_conv(problem, 0.6)
    with pytest.MonkeyPatch.context() as patch:
        gathered(patch, 500, 512, 1)
        check_conv(KERNEL, problem, weight, x, isa)
        assert "window" not in compile_layer(KERNEL, problem, weight, isa=isa).lowered.scratch


@pytest.mark.parametrize("isa", host_isas())
def test_gathered_rows_see_only_their_own_nonzeros(isa: Isa) -> None:
    with pytest.MonkeyPatch.context() as patch:
        gathered(patch, 300, 2, 1)
        test_a_row_sees_only_its_own_nonzeros(isa, 7, 1)
        test_a_row_sees_only_its_own_nonzeros(isa, 14, 3)


def test_inputs_that_are_read_often_are_gathered() -> None:
    problem = ConvProblem(1, 512, 320, 1, (Axis(14, 1), Axis(14, 1)))
    weight, x = random_conv(problem, 0.2)
    check_conv(KERNEL, problem, weight, x, host_isas()[0])
    assert "slots" in compile_layer(KERNEL, problem, weight).lowered.weights


def test_a_sparse_weight_is_never_made_dense() -> None:
    axis = Axis(9, 1)
    problem = ConvProblem(1, 8, 8, 1, (axis, axis))
    weight, x = random_conv(problem, 0.2)
    np.testing.assert_array_equal(
        run(KERNEL, problem, {"x": x}, Coo.from_dense(weight)), run(KERNEL, problem, {"x": x}, weight)
    )


def test_equal_layers_share_a_function() -> None:
    from torch_mlir import ir

    from sparsec.kernels.epilogue import IDENTITY

    axis = Axis(9, 3, 1, 1, 1, 1)
    problem = ConvProblem(1, 8, 8, 1, (axis, axis))
    weight, _ = random_conv(problem, 0.2)
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        first = KERNEL.lower(module, problem, weight, IDENTITY, AVX512)
        assert KERNEL.lower(module, problem, -weight, IDENTITY, AVX512).calls == first.calls
        assert len(module.body.operations) == 2


def test_refuses_other_problems() -> None:
    assert KERNEL.refuses(LinearProblem(4, 4, 4), AVX512)
    assert KERNEL.refuses(ConvProblem(1, 4, 4, 1, (Axis(9, 3),)), AVX512) is None


def test_work_is_cut_into_units_of_equal_nonzeros() -> None:
    axis = Axis(7, 1)
    problem = ConvProblem(1, 64, 256, 1, (axis, axis))
    weight, _ = random_conv(problem, 0.2)
    weight[128:] = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConvColumns, "of", lambda *_: None)
        layer = compile_layer(KERNEL, problem, weight)
    pointers, bounds = layer.lowered.weights["pointers"], layer.lowered.weights["bounds"]
    work = np.diff(pointers[bounds]) + 3 * np.diff(bounds)
    assert layer.lowered.calls[-1].extent == len(work) >= 16
    assert work.max() <= 1.5 * work.mean()
    assert output_shape(problem) == (1, 256, 7, 7)
