"""The cost model: every kernel has a cost, and costs move the right way."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from sparsec.cost.machine import GENERIC
from sparsec.cost.model import predict
from sparsec.formats.facts import Facts, facts_of
from sparsec.kernels.arithmetic import BF16, F32, U8S8
from sparsec.kernels.isa import AVX2, AVX512, AVX512_AMX, AVX512_BF16, Isa
from sparsec.kernels.problem import AttentionProblem, Axis, ConvProblem, LinearProblem, MatmulProblem, Problem
from sparsec.kernels.table import KERNELS

PROBLEMS: list[Problem] = [
    LinearProblem(128, 256, 128),
    LinearProblem(1, 256, 128),
    LinearProblem(3, 7, 1),
    *(LinearProblem(tokens, 250, 128, arithmetic) for tokens in (1, 128) for arithmetic in (BF16, U8S8)),
    ConvProblem(1, 64, 32, 1, (Axis(28, 1), Axis(28, 1))),
    ConvProblem(2, 8, 12, 2, (Axis(9, 3, 2, 1, 1, 1), Axis(9, 3, 2, 1, 1, 1))),
    ConvProblem(1, 32, 32, 32, (Axis(14, 3, 1, 1, 1, 1), Axis(14, 3, 1, 1, 1, 1))),
    MatmulProblem(4, 16, 32, 16),
    *(AttentionProblem(1, 12, 128, 128, 32, arithmetic=arithmetic) for arithmetic in (F32, BF16)),
]


def facts(problem: Problem, zeros: float) -> Facts | None:
    """Of a random weight."""
    match problem:
        case LinearProblem():
            shape = (problem.outputs, problem.inputs)
        case ConvProblem():
            shape = (problem.filters, problem.reduction)
        case MatmulProblem() | AttentionProblem():
            return None
    random = np.random.default_rng(0).random(shape, np.float32)
    return facts_of(np.where(random < zeros, 0, random + 1))


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
@pytest.mark.parametrize(
    "isa",
    [AVX2, AVX512, AVX512_BF16, AVX512_AMX],
    ids=lambda isa: f"{isa.suffix}-{isa.bytes_dot}{'-tiles' if isa.tile_registers else ''}",
)
@pytest.mark.parametrize("zeros", [0.0, 0.9, 1.0])
def test_every_kernel_has_a_cost(problem: Problem, isa: Isa, zeros: float) -> None:
    known = facts(problem, zeros)
    for kernel in KERNELS.values():
        if kernel.refuses(problem, isa) is None and (known is not None or kernel.format == "dense"):
            predicted = predict(kernel.name, problem, known, isa, GENERIC)
            assert math.isfinite(predicted)
            assert predicted > 0


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_more_zeros_never_cost_more(problem: Problem) -> None:
    half, few = facts(problem, 0.5), facts(problem, 0.95)
    for kernel in KERNELS.values():
        if half is not None and kernel.refuses(problem, AVX512_AMX) is None:
            slower, faster = (predict(kernel.name, problem, each, AVX512_AMX, GENERIC) for each in (half, few))
            assert faster <= slower, kernel.name


def test_a_faster_machine_takes_less_time() -> None:
    problem = PROBLEMS[0]
    fast = replace(GENERIC, ghz=2 * GENERIC.ghz)
    assert predict("f32_linear_dense", problem, facts(problem, 0), AVX512, fast) < predict(
        "f32_linear_dense", problem, facts(problem, 0), AVX512, GENERIC
    )


def test_attention_of_few_queries_is_not_worth_rounding() -> None:
    """k and v are read for them anyway, but in float32 v stays as it is."""
    for queries, faster in ((1, False), (64, True)):
        problem = AttentionProblem(1, 12, queries, 128, 64)
        half = replace(problem, arithmetic=BF16)
        single, narrow = (
            predict(f"{each.arithmetic.name}_attention_dense", each, None, AVX512_BF16, GENERIC)
            for each in (problem, half)
        )
        assert (narrow < single) == faster


def test_weights_beyond_the_caches_come_from_memory() -> None:
    problem = LinearProblem(1, 4096, 4096)
    slow = replace(GENERIC, memory_bytes_per_cycle=GENERIC.memory_bytes_per_cycle / 4)
    times = [predict("f32_linear_dense", problem, None, AVX512, machine) for machine in (GENERIC, slow)]
    assert times[1] > 3 * times[0]
