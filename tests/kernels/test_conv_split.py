"""Convolutions with bundles of filters against float64 NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from harness import F32, compile_layer, host_isas, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layers import check_conv, convolutions, random_conv, square
from tails import TAILS, Tail

from sparsec.formats.coo import Coo
from sparsec.kernels import conv_columns, conv_split
from sparsec.kernels.conv_split import SHARINGS, ConvSplit
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.problem import ConvProblem, LinearProblem

KERNEL = ConvSplit()
problems = convolutions(33)


def mixed(problem: ConvProblem, density: float, full: float) -> tuple[F32, F32]:
    """A weight with so many full filters and full columns, and maps."""
    weight, x = random_conv(problem, density)
    random = np.random.default_rng(1)
    chosen = random.random((len(weight), 1, *(1,) * len(problem.axes))) < full
    chosen = chosen | (random.random((1, *weight.shape[1:])) < full)
    return np.where(chosen, random.standard_normal(weight.shape), weight).astype(np.float32), x


def eager(patch: pytest.MonkeyPatch, fewest: int, block: int = 48 << 10, units: int = 4) -> None:
    """Bundles of few columns, in blocks of so many bytes."""
    patch.setattr(conv_split, "SHARINGS", tuple(replace(each, fewest=fewest) for each in SHARINGS))
    patch.setattr(conv_columns, "BLOCK_BYTES", block)
    patch.setattr(conv_columns, "UNITS", units)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    problems,
    st.sampled_from(host_isas()),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([1, 4]),
    st.sampled_from([300, 4000, 48 << 10]),
    st.sampled_from([1, 100]),
)
def test_agrees_with_numpy(
    problem: ConvProblem, isa: Isa, density: float, full: float, fewest: int, block: int, units: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        eager(patch, fewest, block, units)
        check_conv(KERNEL, problem, *mixed(problem, density, full), isa)


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(problems, st.sampled_from(host_isas()), st.sampled_from(TAILS))
def test_epilogues(problem: ConvProblem, isa: Isa, tail: Tail) -> None:
    with pytest.MonkeyPatch.context() as patch:
        eager(patch, 2)
        check_conv(KERNEL, problem, *mixed(problem, 0.2, 0.3), isa, tail)


@pytest.mark.parametrize("isa", host_isas())
@pytest.mark.parametrize(("size", "kernel"), [(7, 1), (14, 3), (20, 3)])
def test_a_filter_sees_only_its_own_nonzeros(isa: Isa, size: int, kernel: int) -> None:
    problem = ConvProblem(1, 40, 24, 1, square(size, kernel))
    weight, x = np.zeros((24, 40, kernel, kernel), np.float32), np.ones((1, 40, size, size), np.float32)
    weight[::3] = 1
    weight[:, :20] = 1
    x[:, 30] = np.nan
    y = run(KERNEL, problem, {"x": x}, weight, isa=isa).reshape(24, -1)
    assert np.isnan(y[::3]).any(axis=1).all()
    assert np.isfinite(np.delete(y, np.s_[::3], axis=0)).all()


def test_full_filters_are_bundled() -> None:
    problem = ConvProblem(1, 64, 32, 1, square(14, 1))
    weight, x = random_conv(problem, 0.05)
    weight[::4] = 1
    lowered = compile_layer(KERNEL, problem, weight).lowered
    assert lowered.weights["values.1"].size >= 8 * 64
    check_conv(KERNEL, problem, weight, x, host_isas()[0])


def test_what_has_no_bundles_is_csr() -> None:
    problem = ConvProblem(1, 64, 32, 1, square(14, 1))
    weight, x = random_conv(problem, 0.05)
    assert "values.1" not in compile_layer(KERNEL, problem, weight).lowered.weights
    check_conv(KERNEL, problem, weight, x, host_isas()[0])


def test_a_sparse_weight_is_never_made_dense() -> None:
    problem = ConvProblem(1, 64, 32, 1, square(14, 1))
    weight, _ = mixed(problem, 0.05, 0.2)
    lowered = [compile_layer(KERNEL, problem, each).lowered for each in (weight, Coo.from_dense(weight))]
    for name, array in lowered[0].weights.items():
        np.testing.assert_array_equal(array, lowered[1].weights[name])


def test_refuses_other_problems() -> None:
    assert KERNEL.refuses(LinearProblem(1, 1, 1), AVX512)
