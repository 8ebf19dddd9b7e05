"""Measuring in this process: real kernels on a tiny layer, and kernels that are wrong or do not compile."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from torch_mlir import ir

from sparsec.driver import isa_of
from sparsec.kernels.epilogue import Epilogue, EpilogueOperand, Reach
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import LoweredLayer, Weight
from sparsec.kernels.linear_dense import LinearDense
from sparsec.kernels.problem import Axis, ConvProblem, Problem
from sparsec.targets import resolve
from sparsec.tune import local
from sparsec.tune.local import LocalMeasurer
from tests.tune.tasks import CSR, DENSE, linear_task

TARGET = resolve("native")
ISA = isa_of(TARGET)
BIAS_RELU = Epilogue(
    "func.func private @epilogue(%sum: f32, %bias: f32, %other: f32) -> f32 {\n"
    "  %zero = arith.constant 0.0 : f32\n  %0 = arith.addf %sum, %bias : f32\n  %1 = arith.addf %0, %other : f32\n"
    "  %2 = math.tanh %1 : f32\n  %3 = arith.maximumf %2, %zero : f32\n  return %3 : f32\n}",
    (EpilogueOperand(Reach.CHANNEL, "f32"), EpilogueOperand(Reach.FULL, "f32")),
)


@dataclass(frozen=True)
class Wrong:
    """Dense, of another weight."""

    name: str = "wrong"
    format: str = "dense"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        return None

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(weight, np.ndarray)
        return LinearDense().lower(module, problem, weight + np.float32(0.01), epilogue, isa)


@dataclass(frozen=True)
class Broken(Wrong):
    """Cannot be generated."""

    name: str = "broken"

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        raise AssertionError("no such tile")


def test_two_right_kernels() -> None:
    found = LocalMeasurer(TARGET).measure(linear_task(isa=ISA), [CSR, DENSE], 0.01)
    assert [each.kernel for each in found] == [CSR, DENSE]
    for each in found:
        assert each.fault is None
        assert each.median_ns is not None
        assert each.median_ns > 0
        assert each.rounds >= local.FEWEST_ROUNDS


def test_an_epilogue_with_operands() -> None:
    found = LocalMeasurer(TARGET).measure(linear_task(isa=ISA, epilogue=BIAS_RELU), [CSR, DENSE], 0.01)
    assert [each.fault for each in found] == [None, None]


def test_wrong_and_broken_kernels_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "KERNELS", {**local.KERNELS, "wrong": Wrong(), "broken": Broken()})
    found = LocalMeasurer(TARGET).measure(linear_task(isa=ISA), [DENSE, "wrong", "broken"], 0.01)
    assert found[0].fault is None
    assert found[1].median_ns is None
    assert "wrong result" in (found[1].fault or "")
    assert "no such tile" in (found[2].fault or "")


def test_convolution() -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal((6, 4, 3, 3)).astype(np.float32)
    problem = ConvProblem(1, 4, 6, 1, (Axis(9, 3, 1, 1, 1, 1), Axis(8, 3, 2, 1, 1, 1)))
    task = replace(linear_task(isa=ISA, epilogue=BIAS_RELU), problem=problem, weight=weight)
    found = LocalMeasurer(TARGET).measure(task, ["f32_conv_dense", "f32_conv_csr"], 0.01)
    assert [each.fault for each in found] == [None, None]
