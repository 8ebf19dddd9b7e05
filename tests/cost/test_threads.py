"""Costs on several threads: never more than on fewer, but for what they wait for each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsec.cost.machine import GENERIC, Machine
from sparsec.cost.model import predict
from sparsec.cost.threads import STEP_NS, cores_at_work, waiting_ns
from sparsec.formats.facts import Facts, facts_of
from sparsec.kernels.arithmetic import F32, U8S8, Arithmetic
from sparsec.kernels.isa import AVX512_AMX
from sparsec.kernels.problem import Axis, ConvProblem, LinearProblem, MatmulProblem, Problem
from sparsec.kernels.table import KERNELS
from sparsec.targets import TARGETS

MACHINES = (GENERIC, TARGETS["x86-64-v4-amx"].machine or GENERIC)


def facts(rows: int, columns: int, density: float) -> Facts:
    return facts_of(np.random.default_rng(0).random((rows, columns)) < density)


def able(problem: Problem) -> list[str]:
    return [
        name
        for name, kernel in KERNELS.items()
        if name.startswith(f"{problem.arithmetic.name}_") and kernel.refuses(problem, AVX512_AMX) is None
    ]


def on(machine: Machine, threads: int, kernel: str, problem: Problem, known: Facts | None) -> float:
    return predict(kernel, problem, known, AVX512_AMX, replace(machine, threads=threads))


@given(
    st.sampled_from(MACHINES),
    st.sampled_from([F32, U8S8]),
    st.integers(1, 300),
    st.sampled_from([1, 7, 256, 1000]),
    st.sampled_from([3, 64, 768]),
    st.sampled_from([0.02, 0.5]),
    st.integers(1, 64),
    st.integers(1, 64),
)
def test_more_threads_take_no_more_time_than_they_wait(
    machine: Machine,
    arithmetic: Arithmetic,
    tokens: int,
    inputs: int,
    outputs: int,
    density: float,
    threads: int,
    more: int,
) -> None:
    problem, known = LinearProblem(tokens, inputs, outputs, arithmetic), facts(outputs, inputs, density)
    for kernel in able(problem):
        few, many = (
            on(machine, each, kernel, problem, known) - waiting_ns(kernel, problem, each)
            for each in (threads, threads + more)
        )
        assert many <= few * (1 + 1e-9), kernel


@pytest.mark.parametrize(
    "problem",
    [
        ConvProblem(2, 8, 12, 2, (Axis(9, 3, 2, 1, 1, 1), Axis(9, 3, 2, 1, 1, 1))),
        ConvProblem(1, 32, 32, 32, (Axis(14, 3, 1, 1, 1, 1), Axis(14, 3, 1, 1, 1, 1))),
        MatmulProblem(4, 16, 32, 16),
        LinearProblem(0, 16, 32),
    ],
    ids=str,
)
def test_every_problem_has_pieces(problem: Problem) -> None:
    for kernel in able(problem):
        assert 1 <= cores_at_work(kernel, problem, 16) <= 16


def test_a_layer_of_few_pieces_leaves_threads_idle() -> None:
    few, many = LinearProblem(32, 768, 64, U8S8), LinearProblem(64, 768, 64 * 64, U8S8)
    assert cores_at_work("u8s8_linear_amx", few, 16) == 2
    assert cores_at_work("u8s8_linear_amx", many, 16) == 16


def test_the_last_pieces_keep_the_others_waiting() -> None:
    assert cores_at_work("u8s8_linear_amx", LinearProblem(32, 768, 17 * 32, U8S8), 16) == 17 / 2


def test_one_token_is_not_copied() -> None:
    one, two = (waiting_ns("f32_linear_csr", LinearProblem(tokens, 64, 64), 4) for tokens in (1, 2))
    assert STEP_NS < one < 1.01 * STEP_NS
    assert 2 * STEP_NS < two < 2.01 * STEP_NS
    assert waiting_ns("f32_linear_csr", LinearProblem(2, 64, 64), 1) == 0


def test_memory_is_shared() -> None:
    """A weight from memory takes as long on many threads as on those that take all of its bandwidth."""
    problem = LinearProblem(1, 8192, 8192)
    machine = replace(GENERIC, memory_cores=3.0)
    times = {each: on(machine, each, "f32_linear_dense", problem, None) for each in (1, 3, 12)}
    assert times[1] > 2.5 * times[3]
    assert times[12] > 0.95 * times[3]


def test_caches_of_all_cores_hold_a_weight_together() -> None:
    """What one core reads from L3 again and again, sixteen find in their own L2."""
    problem, machine = LinearProblem(1, 4096, 4096, U8S8), MACHINES[1]
    times = {each: on(machine, each, "u8s8_linear_dense", problem, None) for each in (1, 16)}
    assert times[1] > 20 * times[16]
