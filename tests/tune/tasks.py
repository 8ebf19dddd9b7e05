"""Tasks for tests, made without a model."""

from __future__ import annotations

import numpy as np

from sparsec.cost.layer_key import LayerKey
from sparsec.cost.machine import GENERIC
from sparsec.formats.facts import facts_of
from sparsec.kernels.arithmetic import F32, U8S8, Arithmetic
from sparsec.kernels.epilogue import IDENTITY, Epilogue
from sparsec.kernels.isa import AVX512, Isa
from sparsec.kernels.problem import LinearProblem
from sparsec.passes.select_format import candidates
from sparsec.tune.task import Task

CSR, DENSE = "f32_linear_csr", "f32_linear_dense"


def kernels_of(arithmetic: Arithmetic) -> tuple[str, str]:
    """CSR and dense."""
    return f"{arithmetic.name}_linear_csr", f"{arithmetic.name}_linear_dense"


def linear_task(
    tokens: int = 32,
    zeros: float = 0.9,
    epilogue: Epilogue = IDENTITY,
    isa: Isa = AVX512,
    names: tuple[str, ...] = ("a",),
    arithmetic: Arithmetic = F32,
) -> Task:
    """A layer of 48 inputs and 40 outputs with two candidates: CSR and dense."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((40, 48)).astype(np.float32)
    if arithmetic == U8S8:
        weight = random.integers(-128, 128, weight.shape, np.int8)
    weight[random.random(weight.shape) < zeros] = 0
    problem, facts = LinearProblem(tokens, 48, 40, arithmetic), facts_of(weight)
    key = LayerKey.of(problem, epilogue.tag, isa, facts, weight)
    wanted = kernels_of(arithmetic)
    listed = [each for each in candidates(problem, facts, isa, GENERIC, {}) if each.kernel in wanted]
    ranked = sorted(listed, key=lambda each: each.predicted_ns or 0.0)
    return Task(names, key, problem, epilogue, facts, weight, tuple(ranked))
