"""Linear layers whose rows keep few nonzeros in each window of columns, against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from expected import assert_close, reference, tolerance
from harness import F32, NARROW, compile_layer, host_isas, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tails import TAILS, Tail

from sparsec.formats.coo import Coo
from sparsec.kernels import linear_nm
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.linear_nm import LinearNm, WindowRows
from sparsec.kernels.permutation import Permutation
from sparsec.kernels.problem import ConvProblem, LinearProblem

KERNEL = LinearNm()
ISAS = [isa for isa in host_isas() if KERNEL.refuses(LinearProblem(1, 1, 1), isa) is None]
PERMUTATIONS = [(4, "tbl"), (8, "vpermps"), (16, "vpermps")]  # lanes, instruction
GROUPS = [(1, 4), (2, 4), (3, 5), (1, 8), (4, 8), (1, 16), (9, 16), (1, 1)]
sizes = st.one_of(st.integers(1, 20), st.integers(21, 90))
problems = st.builds(LinearProblem, sizes, sizes, sizes)


def random_layer(problem: LinearProblem, kept: int, of: int, share: float = 1.0) -> tuple[F32, F32]:
    """A weight that keeps n of m, or only a share of them, and tokens."""
    random = np.random.default_rng(0)
    groups = -(-problem.inputs // of)
    rank = random.random((problem.outputs, groups, of)).argsort(axis=2)
    stored = (rank < kept) & (random.random(rank.shape) < share)
    weight = np.where(stored, random.standard_normal(rank.shape), 0).astype(np.float32)
    x = random.standard_normal((problem.tokens, problem.inputs), dtype=np.float32)
    return weight.reshape(problem.outputs, groups * of)[:, : problem.inputs], x


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    problems,
    st.sampled_from(ISAS),
    st.sampled_from(GROUPS),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from(TAILS),
)
def test_agrees_with_numpy(problem: LinearProblem, isa: Isa, group: tuple[int, int], share: float, tail: Tail) -> None:
    weight, x = random_layer(problem, *group, share)
    operands = tail.operands(problem, np.random.default_rng(1))
    y = run(KERNEL, problem, {"x": x, **operands}, Coo.from_dense(weight), tail.epilogue, isa, cuts=(0.3, 0.6))
    expected, scale = reference(problem, {"x": x}, weight)
    allowed = tolerance(np.float32, problem.inputs + 3, scale + 4 + sum(np.abs(each) for each in operands.values()))
    assert_close(y, tail.apply(expected, operands), allowed)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("tokens", [1, 7, 40])
def test_blocks_of_panels(isa: Isa, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = LinearProblem(tokens, 70, 130)
    weight, x = random_layer(problem, 2, 4)
    expected, scale = reference(problem, {"x": x}, weight)
    for size in (1, 20_000, 1 << 20):
        monkeypatch.setattr(linear_nm, "NEAR_BYTES", size)
        y = run(KERNEL, problem, {"x": x}, weight, isa=isa, cuts=(0.4,))
        assert_close(y, expected, tolerance(np.float32, 70, scale))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("inputs", [3, 24, 33])
def test_infinities_are_those_of_dense(isa: Isa, inputs: int) -> None:
    """A filler in a column where the row has a nonzero must not make NaN of an infinity there."""
    problem = LinearProblem(5, inputs, 40)
    weight, x = random_layer(problem, 1, 1)
    weight[:, 1::2] = 0
    weight[::2, 2:] = 0
    x[:, 0] = np.inf
    weight[:, 0] = np.abs(weight[:, 0])
    y = run(KERNEL, problem, {"x": x}, weight, isa=isa)
    assert np.isposinf(y).all()


@pytest.mark.parametrize("isa", ISAS)
def test_nothing_outside_x_is_read(isa: Isa) -> None:
    """Buffers of the harness are surrounded by NaN."""
    for inputs in (1, 15, 16, 17, 31):
        problem = LinearProblem(3, inputs, 20)
        weight, x = random_layer(problem, 2, 4)
        assert np.isfinite(run(KERNEL, problem, {"x": x}, weight, isa=isa)).all()


@given(st.sampled_from(GROUPS), st.integers(0, 40), st.integers(1, 60), st.sampled_from(PERMUTATIONS))
def test_packed_weights_are_the_weight(
    group: tuple[int, int], outputs: int, inputs: int, permutation_of: tuple[int, str]
) -> None:
    lanes, instruction = permutation_of
    weight, _ = random_layer(LinearProblem(1, inputs, outputs), *group, 0.7)
    isa = Isa("any", 4 * lanes, 32, masks=False, permutes=instruction)
    permutation = Permutation.of(isa)
    assert permutation is not None
    rows = WindowRows.pack(weight, lanes, permutation)
    steps = -(-rows.windows // rows.together)
    words = rows.positions.view(np.uint32).reshape(-1, steps, rows.words, lanes)
    values = rows.values.reshape(-1, rows.windows, rows.kept, lanes)
    found: NDArray[np.float64] = np.zeros((len(values) * lanes, inputs))
    for panel, window, slot, lane in np.ndindex(*values.shape):
        step, inside = divmod(window, rows.together)
        place, number = divmod(inside * rows.kept + slot, permutation.per_word)
        field = int(words[panel, step, place, lane]) >> number * permutation.field & (1 << permutation.field) - 1
        first = max(min(window * lanes, inputs - lanes), 0)
        found[panel * lanes + lane, first + field * permutation.unit // 4] += values[panel, window, slot, lane]
    np.testing.assert_array_equal(found[:outputs], weight)
    assert not found[outputs:].any()


def test_accumulators_stay_in_registers() -> None:
    if AVX512 not in ISAS:
        pytest.skip("needs AVX-512")
    problem = LinearProblem(20, 256, 64)
    weight, _ = random_layer(problem, 2, 4)
    assembly = compile_layer(KERNEL, problem, weight).machine.assembly
    lines = [line for line in assembly.splitlines() if "zmm" in line]
    assert sum("vperm" in line for line in lines) == 80
    assert not any("(%rsp)" in line for line in lines)


def test_refuses_other_problems_and_instruction_sets() -> None:
    assert KERNEL.refuses(ConvProblem(1, 1, 1, 1, ()), AVX512)
    assert "permutes" in str(KERNEL.refuses(LinearProblem(1, 1, 1), NARROW))
