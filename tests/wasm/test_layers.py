"""Each kernel of layers, compiled to WebAssembly and run by wasmtime, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from bench.wasm_engines.module import WasmModel
from sparsec.driver import compile_wasm
from sparsec.options import Options
from tests.wasm.layers import BLOCKS, DENSE, EMPTY, FEW, SPARSE, Conv, Pattern, linear, linear_bytes

LINEAR = [(1, 70, 50), (3, 130, 66), (4, 64, 8), (33, 18, 70), (70, 257, 9)]
CONVS = [
    Conv(9, 13, (7, 7)),
    Conv(16, 24, (5, 9)),
    Conv(8, 8, (32, 16)),
    Conv(3, 10, (11, 9), (3, 3), stride=2, padding=1),
    Conv(6, 12, (8, 8), (3, 3), padding=1),
    Conv(6, 8, (9, 10), (3, 2), dilation=2, padding=2),
    Conv(8, 12, (6, 7), (3, 3), padding=1, groups=2),
]
DEPTHWISE = [
    Conv(5, 5, (7, 7), (3, 3), padding=1, groups=5),
    Conv(6, 12, (14, 15), (5, 5), stride=2, padding=2, groups=6),
    Conv(3, 3, (40, 33), (3, 3), stride=2, padding=1, groups=3),
]


def check(model: onnx.ModelProto, kernel: str, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """Compile with `kernel` if it can compute the layer, run, and compare: whole numbers exactly."""
    monkeypatch.setattr("sparsec.passes.select_format.predict", lambda name, *_: 1.0 if name == kernel else 1000.0)
    plan, module = compile_wasm(model, Options(target, use_measurements=False))
    assert any(step.kernel.startswith(kernel) for step in plan.steps)
    random, shape = np.random.default_rng(0), plan.inputs[0].shape
    exact = plan.inputs[0].dtype == "uint8"
    feeds = {"x": random.integers(0, 256, shape, np.uint8) if exact else random.standard_normal(shape, np.float32)}
    (got,) = WasmModel(module).run(feeds).values()
    reference = ReferenceEvaluator(model) if exact else onnxruntime.InferenceSession(model.SerializeToString())
    (expected,) = reference.run(None, feeds)
    if exact:
        np.testing.assert_array_equal(got, expected)
    else:
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", ["f32_linear_dense", "f32_linear_csr", "f32_linear_blocked", "f32_linear_nm"])
@pytest.mark.parametrize(("shape", "pattern"), list(zip(LINEAR, [SPARSE, FEW, BLOCKS, DENSE, SPARSE], strict=True)))
def test_linear_layers(
    shape: tuple[int, int, int], pattern: Pattern, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel == "f32_linear_blocked" and shape[0] == 1:
        pytest.skip("blocks of rows refuse a single token")
    check(linear(*shape, pattern), kernel, monkeypatch, "wasm32")


@pytest.mark.parametrize("kernel", ["f32_conv_dense", "f32_conv_csr", "f32_conv_blocked"])
@pytest.mark.parametrize("conv", CONVS, ids=str)
def test_convolutions(conv: Conv, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kernel == "f32_conv_blocked" and conv.groups > 1:
        pytest.skip("blocks of rows refuse groups")
    pattern = BLOCKS if kernel == "f32_conv_blocked" else SPARSE
    check(conv.model(pattern), kernel, monkeypatch, "wasm32")


@pytest.mark.parametrize("conv", DEPTHWISE, ids=str)
def test_depthwise_convolutions(conv: Conv, monkeypatch: pytest.MonkeyPatch) -> None:
    check(conv.model(DENSE), "f32_conv_depthwise", monkeypatch, "wasm32")


@pytest.mark.parametrize("target", ["wasm32", "wasm32-relaxed"])
def test_weights_in_parts(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    halves = Pattern(0.5, 4)
    check(linear(33, 128, 40, halves), "f32_linear_split", monkeypatch, target)
    check(Conv(6, 12, (8, 8), (3, 3), padding=1).model(halves), "f32_conv_split", monkeypatch, target)


@pytest.mark.parametrize("kernel", ["f32_linear_dense", "f32_linear_csr", "f32_linear_blocked", "f32_linear_nm"])
def test_fused_multiply_adds(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(linear(33, 64, 40, BLOCKS), kernel, monkeypatch, "wasm32-relaxed")


@pytest.mark.parametrize("target", ["wasm32", "wasm32-relaxed"])
@pytest.mark.parametrize("kernel", ["u8s8_linear_dense", "u8s8_linear_csr", "u8s8_linear_blocked"])
@pytest.mark.parametrize(("shape", "pattern"), list(zip(LINEAR, [SPARSE, FEW, BLOCKS, DENSE, SPARSE], strict=True)))
def test_linear_layers_of_bytes(
    shape: tuple[int, int, int], pattern: Pattern, kernel: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel == "u8s8_linear_blocked" and shape[0] == 1:
        pytest.skip("blocks of rows refuse a single token")
    check(linear_bytes(*shape, pattern), kernel, monkeypatch, target)


@pytest.mark.parametrize("kernel", ["u8s8_conv_dense", "u8s8_conv_csr", "u8s8_conv_blocked"])
@pytest.mark.parametrize("conv", CONVS, ids=str)
def test_convolutions_of_bytes(conv: Conv, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kernel == "u8s8_conv_blocked" and conv.groups > 1:
        pytest.skip("blocks of rows refuse groups")
    pattern = BLOCKS if kernel == "u8s8_conv_blocked" else SPARSE
    check(conv.model_bytes(pattern), kernel, monkeypatch, "wasm32")


@pytest.mark.parametrize("conv", DEPTHWISE, ids=str)
def test_depthwise_convolutions_of_bytes(conv: Conv, monkeypatch: pytest.MonkeyPatch) -> None:
    check(conv.model_bytes(DENSE), "u8s8_conv_depthwise", monkeypatch, "wasm32")


@pytest.mark.parametrize("kernel", ["f32_linear_csr", "f32_linear_dense"])
def test_a_weight_without_nonzeros(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(linear(5, 12, 9, EMPTY), kernel, monkeypatch, "wasm32")
