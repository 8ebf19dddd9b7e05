"""Float16 on ARM: multiplied by processors that can, within the stated error; and stored in artifacts, for every processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from bench.arm.cases import LACKS_FEATURE, OK, Case, Result
from bench.arm.emulator import PROCESSORS, Emulator
from sparsec import artifact
from sparsec.artifact import Program
from sparsec.driver import compile_program
from sparsec.errors import TargetError
from sparsec.kernels.arithmetic import FP16
from sparsec.kernels.problem import Axis, ConvProblem, LinearProblem, Problem
from sparsec.kernels.short_sums import LONGEST
from sparsec.kernels.table import KERNELS
from sparsec.options import Options
from sparsec.report import Report
from sparsec.runtime import Session
from sparsec.targets import TARGETS
from tests.aarch64.layers import case_of, programs
from tests.rounded_models import pruned_layers, rounded
from tests.tune.models import two_layers
from tests.wasm.layers import SPARSE, linear

TARGET = "aarch64-fp16"
KERNELS_OF_HALVES = [name for name in KERNELS if name.startswith(f"{FP16.name}_")]
LONG_SUMS = LinearProblem(17, 4000, 24, FP16)
LONG_CONVOLUTION = ConvProblem(1, 4000, 24, 1, (Axis(3, 1), Axis(7, 1)), FP16)


def run(program: Program, x: np.ndarray, runner: Path, processor: str) -> Result:
    (result,) = Emulator(runner, processor).run([Case(program, [x])])
    return result


def reference(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """What the network gives on this machine, in float32."""
    with Session(compile_program(model.SerializeToString(), Options(use_measurements=False)), threads=1) as session:
        (y,) = session.run({"x": x}).values()
    return y


@pytest.mark.parametrize("name", KERNELS_OF_HALVES)
def test_long_sums_are_within_the_stated_error(name: str, runner: Path) -> None:
    """Of 4000 positive products: float16 holds neither such a sum nor what is added to it last."""
    problem: Problem = LONG_SUMS if "linear" in name else LONG_CONVOLUTION
    random = np.random.default_rng(0)
    shape = (17, 4000) if "linear" in name else (1, 4000, 3, 7)
    x, w = (12 * random.random(size, np.float32) for size in (shape, (24, 4000)))
    w[:, ::3] = 0
    layer = case_of(KERNELS[name], problem, {"x": x}, w)
    (program,) = programs(TARGETS[TARGET], [layer])
    (result,) = Emulator(runner, PROCESSORS[TARGET]).run([program])
    assert result.status == OK
    assert layer.expected.max() > np.finfo(np.float16).max
    errors = np.abs(result.outputs[0] - layer.expected) / layer.expected
    assert errors.max() <= (LONGEST + 2) * 2**-11
    assert errors.max() <= 2**-9, "of so many short sums, errors cancel"


def test_a_network_is_near_float32_and_says_so(runner: Path) -> None:
    model = two_layers()
    program = compile_program(model.SerializeToString(), Options(TARGET, use_measurements=False, precision="fp16"))
    report = Report.from_dict(program.report)
    assert report.precision == "fp16"
    assert any("multiply in fp16 (fmla.8h)" in note for note in report.notes)
    assert all(layer.choice.startswith("fp16_") and layer.reason.endswith("; fmla.8h") for layer in report.layers)
    x = np.random.default_rng(1).standard_normal((32, 24), dtype=np.float32)
    result, expected = run(program, x, runner, PROCESSORS[TARGET]), reference(model, x)
    assert result.status == OK
    error = np.abs(result.outputs[0] - expected).max() / np.abs(expected).max()
    assert 1e-6 < error < 5e-3
    assert run(program, x, runner, "cortex-a57").status == LACKS_FEATURE


def test_weights_that_float16_has_not_stay_float32(runner: Path) -> None:
    model = two_layers()
    first = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    first.flat[np.flatnonzero(first)[0]] = 1e5
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(first, model.graph.initializer[0].name))
    program = compile_program(model.SerializeToString(), Options(TARGET, use_measurements=False, precision="fp16"))
    report = Report.from_dict(program.report)
    assert sorted(layer.choice[:3] for layer in report.layers) == ["f32", "fp1"]
    assert any("larger than 65504" in note for note in report.notes)
    x = np.random.default_rng(1).standard_normal((32, 24), dtype=np.float32) / 100  # what comes out must fit, too
    result, expected = run(program, x, runner, PROCESSORS[TARGET]), reference(model, x)
    assert np.abs(result.outputs[0] - expected).max() < 5e-3 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["aarch64", "aarch64-dotprod", "x86-64-v4"])
def test_a_target_without_the_instruction_is_refused(name: str) -> None:
    with pytest.raises(TargetError, match="no instruction that multiplies in fp16"):
        compile_program(two_layers().SerializeToString(), Options(name, precision="fp16"))


@pytest.mark.parametrize("name", PROCESSORS)
def test_an_artifact_with_weights_stored_as_float16_runs_everywhere(name: str, runner: Path, tmp_path: Path) -> None:
    options = Options(name, use_measurements=False, storage="fp16")
    artifact.write(compile_program(pruned_layers().SerializeToString(), options), tmp_path / "model.sparsec")
    program = artifact.read(tmp_path / "model.sparsec")
    assert any(piece.half for piece in program.pieces)
    x = np.random.default_rng(1).standard_normal((32, 24), dtype=np.float32)
    result = run(program, x, runner, PROCESSORS[name])
    assert result.status == OK
    np.testing.assert_allclose(result.outputs[0], reference(rounded(pruned_layers()), x), rtol=1e-5, atol=1e-5)


def test_n_of_m_is_stored_as_float16(runner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = "f32_linear_nm"
    monkeypatch.setattr("sparsec.passes.select_format.predict", lambda name, *_: 1.0 if name == choice else 1000.0)
    model = linear(1, 70, 50, SPARSE)
    program = compile_program(model.SerializeToString(), Options("aarch64", use_measurements=False, storage="fp16"))
    assert [layer.choice for layer in Report.from_dict(program.report).layers] == [choice]
    assert any(piece.half for piece in program.pieces)
    x = np.random.default_rng(1).standard_normal((1, 70), dtype=np.float32)
    result = run(program, x, runner, PROCESSORS["aarch64"])
    assert result.status == OK
    np.testing.assert_allclose(result.outputs[0], reference(rounded(model), x), rtol=1e-5, atol=2e-3)
