"""Measuring in this process: real kernels on a tiny layer, and kernels that are wrong or do not compile."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from torch_mlir import ir

from sparsec.kernels.arithmetic import BF16, F32, U8S8
from sparsec.kernels.epilogue import IDENTITY, Epilogue, EpilogueOperand, Reach, identity
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import LoweredLayer, Weight
from sparsec.kernels.linear_dense import LinearDense
from sparsec.kernels.problem import AttentionProblem, Axis, ConvProblem, Problem
from sparsec.targets import host_features, resolve
from sparsec.targets.isa import isa_of
from sparsec.tune import local
from sparsec.tune.local import LocalMeasurer
from tests.tune.tasks import CSR, DENSE, kernels_of, linear_task

TARGET = resolve("native")
ISA = isa_of(TARGET)
BIAS_RELU = Epilogue(
    "func.func private @epilogue(%sum: f32, %bias: f32, %other: f32) -> f32 {\n"
    "  %zero = arith.constant 0.0 : f32\n  %0 = arith.addf %sum, %bias : f32\n  %1 = arith.addf %0, %other : f32\n"
    "  %2 = math.tanh %1 : f32\n  %3 = arith.maximumf %2, %zero : f32\n  return %3 : f32\n}",
    (EpilogueOperand(Reach.CHANNEL, "f32"), EpilogueOperand(Reach.FULL, "f32")),
)

REQUANTISED = Epilogue(
    "func.func private @epilogue(%sum: i32, %correction: i32, %scale: f32, %residual: i8) -> i8 {\n"
    "  %zero = arith.constant 0.0 : f32\n  %most = arith.constant 255.0 : f32\n"
    "  %0 = arith.addi %sum, %correction : i32\n  %1 = arith.sitofp %0 : i32 to f32\n"
    "  %2 = arith.mulf %1, %scale : f32\n  %3 = arith.uitofp %residual : i8 to f32\n  %4 = arith.addf %2, %3 : f32\n"
    "  %5 = math.roundeven %4 : f32\n  %6 = arith.maximumf %5, %zero : f32\n  %7 = arith.minimumf %6, %most : f32\n"
    "  %8 = arith.fptoui %7 : f32 to i8\n  return %8 : i8\n}",
    (EpilogueOperand(Reach.CHANNEL, "i32"), EpilogueOperand(Reach.CHANNEL, "f32"), EpilogueOperand(Reach.FULL, "i8")),
    "i32",
    "i8",
)
needs_bf16 = pytest.mark.skipif("avx512bf16" not in host_features(), reason="this machine has no bfloat16 instruction")


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


@dataclass(frozen=True)
class WrongByOne(Wrong):
    """Adds one product of a byte and `amount` to the sums of the last output."""

    amount: int = 1

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(weight, np.ndarray)
        changed = weight.astype(np.int16)
        changed[-1, -1] = np.clip(changed[-1, -1] + self.amount, -128, 127)
        return LinearDense(U8S8).lower(module, problem, changed.astype(np.int8), epilogue, isa)


@dataclass(frozen=True)
class InFloat32(Wrong):
    """Does not round what it multiplies."""

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        return LinearDense().lower(module, replace(problem, arithmetic=F32), weight, epilogue, isa)


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


def test_whole_numbers_and_operands_of_every_type() -> None:
    task = linear_task(isa=ISA, epilogue=REQUANTISED, arithmetic=U8S8)
    for epilogue in (REQUANTISED, identity("i32")):
        found = LocalMeasurer(TARGET).measure(replace(task, epilogue=epilogue), kernels_of(U8S8), 0.01)
        assert [each.fault for each in found] == [None, None]


def test_constants_of_the_layer_are_used() -> None:
    """With scales of 0, every result is 0 plus the residual, whatever the sums are."""
    constants = {"epilogue.1": np.zeros(40, np.float32), "epilogue.2": np.zeros((32, 40), np.int8)}
    task = replace(linear_task(isa=ISA, epilogue=REQUANTISED, arithmetic=U8S8), constants=constants)
    feeds = local._feeds(task)
    (_, expected) = LocalMeasurer(TARGET)._reference(task, feeds).values()
    assert expected.dtype == np.uint8
    assert not expected.any()


@pytest.mark.parametrize("amount", [1, -1])
def test_a_sum_that_is_wrong_by_one_is_rejected(monkeypatch: pytest.MonkeyPatch, amount: int) -> None:
    """Even where the epilogue rounds it away."""
    monkeypatch.setattr(local, "KERNELS", {**local.KERNELS, "wrong": WrongByOne(amount=amount)})
    constants = {"epilogue.1": np.full(40, 1e-6, np.float32)}
    task = replace(linear_task(isa=ISA, epilogue=REQUANTISED, arithmetic=U8S8), constants=constants)
    (found,) = LocalMeasurer(TARGET).measure(task, ["wrong"], 0.01)
    assert found.median_ns is None
    assert "wrong result: error" in (found.fault or "")


@needs_bf16
def test_bf16() -> None:
    task = linear_task(isa=ISA, epilogue=BIAS_RELU, arithmetic=BF16)
    found = LocalMeasurer(TARGET).measure(task, kernels_of(BF16), 0.01)
    assert [each.fault for each in found] == [None, None]


@needs_bf16
def test_bf16_attention() -> None:
    problem = AttentionProblem(1, 3, 20, 33, 24, 24**-0.5, (1, 1, 1, 33), arithmetic=BF16)
    task = replace(linear_task(isa=ISA, arithmetic=BF16), problem=problem, facts=None, weight=None, epilogue=IDENTITY)
    (found,) = LocalMeasurer(TARGET).measure(task, ["bf16_attention_dense"], 0.01)
    assert found.fault is None


@needs_bf16
def test_float32_kernels_do_not_pass_for_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Factors that are not rounded give other sums."""
    monkeypatch.setattr(local, "KERNELS", {**local.KERNELS, "wrong": InFloat32()})
    (found,) = LocalMeasurer(TARGET).measure(linear_task(isa=ISA, arithmetic=BF16), ["wrong"], 0.01)
    assert "wrong result: error" in (found.fault or "")


def test_quantised_convolution_with_padding() -> None:
    random = np.random.default_rng(0)
    weight = random.integers(-128, 128, (6, 4, 3, 3), np.int8)
    axes = (Axis(9, 3, 1, 1, 1, 1), Axis(8, 3, 2, 1, 1, 1))
    problem = ConvProblem(1, 4, 6, 1, axes, U8S8, pad_value=131)
    task = replace(linear_task(isa=ISA, arithmetic=U8S8), problem=problem, weight=weight, epilogue=identity("i32"))
    found = LocalMeasurer(TARGET).measure(task, ["u8s8_conv_dense", "u8s8_conv_csr"], 0.01)
    assert [each.fault for each in found] == [None, None]


def test_convolution() -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal((6, 4, 3, 3)).astype(np.float32)
    problem = ConvProblem(1, 4, 6, 1, (Axis(9, 3, 1, 1, 1, 1), Axis(8, 3, 2, 1, 1, 1)))
    task = replace(linear_task(isa=ISA, epilogue=BIAS_RELU), problem=problem, weight=weight)
    found = LocalMeasurer(TARGET).measure(task, ["f32_conv_dense", "f32_conv_csr"], 0.01)
    assert [each.fault for each in found] == [None, None]
