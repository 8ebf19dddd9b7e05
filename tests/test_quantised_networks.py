"""Small networks as quantisers leave them, compiled and run, against ONNX Runtime and torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.ao.quantization.fx._decomposed  # registers the operators
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from torch import nn

import sparsec
from sparsec.feeds import random_feeds
from sparsec.reference import OnnxRuntime
from sparsec.verify import verify

operators = torch.ops.quantized_decomposed
Array = NDArray[np.float32]


class Random(CalibrationDataReader):  # type: ignore[misc]
    """Two random inputs."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        random = np.random.default_rng(0)
        self._rest: Iterator[dict[str, Array]] = iter(
            [{"x": random.standard_normal(shape).astype(np.float32)} for _ in range(2)]
        )

    def get_next(self) -> dict[str, Array] | None:
        return next(self._rest, None)


class Network:
    """Collects the nodes and weights of a float32 model with the input "x"."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, NDArray[np.generic]] = {}

    def weight(self, *shape: int, zeros: float = 0.0, scale: float = 0.2) -> str:
        array = (self.random.standard_normal(shape) * scale).astype(np.float32)
        array[self.random.random(shape) < zeros] = 0
        return self.constant(array)

    def constant(self, value: object) -> str:
        name = f"c{len(self.weights)}"
        self.weights[name] = np.asarray(value)
        return name

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"{op}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def save(self, path: Path, shape: tuple[int, ...]) -> Path:
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        made = onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
        made.ir_version = 8
        onnx.save(made, path)
        return path


IMAGE, TOKENS = (1, 3, 16, 16), (1, 12, 32)


def convolutional(path: Path) -> Path:
    """Convolutions, rectified, with a residual; pools; a linear layer."""
    n = Network()
    stem = n.add("Relu", n.add("Conv", "x", n.weight(16, 3, 3, 3), n.weight(16), pads=[1] * 4, strides=[2, 2]))
    pooled = n.add("MaxPool", stem, kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
    inner = n.add("Relu", n.add("Conv", pooled, n.weight(32, 16, 1, 1, zeros=0.8), n.weight(32)))
    inner = n.add("Relu", n.add("Conv", inner, n.weight(32, 1, 3, 3), n.weight(32), pads=[1] * 4, group=32))
    outer = n.add("Conv", inner, n.weight(16, 32, 1, 1, zeros=0.8), n.weight(16))
    joined = n.add("Relu", n.add("Add", outer, pooled))
    flat = n.add("Flatten", n.add("GlobalAveragePool", joined))
    n.add("Gemm", flat, n.weight(10, 16, zeros=0.5), n.weight(10), transB=1)
    return n.save(path, IMAGE)


def transformer(path: Path) -> Path:
    """Attention of two heads, layer norms, GELU: one block on 12 tokens of 32 numbers."""
    n = Network()

    def linear(x: str, inputs: int, outputs: int) -> str:
        return n.add("Add", n.add("MatMul", x, n.weight(inputs, outputs, zeros=0.7)), n.weight(outputs))

    def heads(x: str, axes: list[int]) -> str:
        return n.add("Transpose", n.add("Reshape", x, n.constant(np.array([1, 12, 2, 16]))), perm=axes)

    def normalised(x: str) -> str:
        return n.add("LayerNormalization", x, n.constant(np.ones(32, np.float32)), n.weight(32), axis=-1)

    query, key = heads(linear("x", 32, 32), [0, 2, 1, 3]), heads(linear("x", 32, 32), [0, 2, 3, 1])
    value = heads(linear("x", 32, 32), [0, 2, 1, 3])
    scores = n.add("Softmax", n.add("Mul", n.add("MatMul", query, key), n.constant(np.float32(0.25))), axis=-1)
    mixed = n.add("Transpose", n.add("MatMul", scores, value), perm=[0, 2, 1, 3])
    mixed = linear(n.add("Reshape", mixed, n.constant(np.array([1, 12, 32]))), 32, 32)
    x = normalised(n.add("Add", mixed, "x"))
    wide = linear(x, 32, 64)
    bent = n.add("Add", n.add("Erf", n.add("Div", wide, n.constant(np.float32(2**0.5)))), n.constant(np.float32(1)))
    wide = n.add("Mul", n.add("Mul", wide, bent), n.constant(np.float32(0.5)))
    normalised(n.add("Add", linear(wide, 64, 32), x))
    return n.save(path, TOKENS)


NETWORKS = {"convolutional": (convolutional, IMAGE), "transformer": (transformer, TOKENS)}


def check(path: Path) -> sparsec.CompiledModel:
    """Compile, and verify against ONNX Runtime."""
    compiled = sparsec.compile(path)
    verification = verify(compiled, OnnxRuntime(path, exact=True), random_feeds(compiled.inputs, seed=1))
    assert verification.passed, verification
    return compiled


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
@pytest.mark.parametrize("types", ["u8s8", "s8s8", "per channel"])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_statically_quantised(name: str, types: str, form: QuantFormat, tmp_path: Path) -> None:
    build, shape = NETWORKS[name]
    plain, quantised = build(tmp_path / "plain.onnx"), tmp_path / "quantised.onnx"
    quantize_static(
        plain,
        quantised,
        Random(shape),
        quant_format=form,
        activation_type=QuantType.QInt8 if types == "s8s8" else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=types == "per channel",
        reduce_range=True,  # ONNX Runtime is exact without VNNI then, too
    )
    compiled = check(quantised)
    assert compiled.report.quantised
    assert "u8s8" in {layer.choice.split("_")[0] for layer in compiled.report.layers if layer.op == "linear"}


@pytest.mark.parametrize("weights", [QuantType.QInt8, QuantType.QUInt8])
def test_dynamically_quantised(weights: QuantType, tmp_path: Path) -> None:
    plain, quantised = transformer(tmp_path / "plain.onnx"), tmp_path / "quantised.onnx"
    quantize_dynamic(plain, quantised, weight_type=weights, reduce_range=True)
    compiled = check(quantised)
    assert {layer.choice.split("_")[0] for layer in compiled.report.layers if layer.op == "linear"} == {"u8s8"}


def _codes(x: torch.Tensor, scale: float, zero: int) -> torch.Tensor:
    """A quantisation and its inverse, as PT2E puts them around each operator."""
    codes = operators.quantize_per_tensor.default(x, scale, zero, 0, 255, torch.uint8)
    return operators.dequantize_per_tensor.default(codes, scale, zero, 0, 255, torch.uint8)


class Static(nn.Module):
    """What PT2E makes of two linear layers, the first per channel."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.register_buffer("first", torch.randint(-127, 128, (16, 24), generator=random).to(torch.int8))
        self.register_buffer("scales", torch.rand(16, generator=random) / 100 + 0.001)
        self.register_buffer("zeros", torch.zeros(16, dtype=torch.int64))
        self.register_buffer("second", torch.randint(-127, 128, (8, 16), generator=random).to(torch.int8))
        self.bias = nn.Parameter(torch.randn(16, generator=random))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = operators.dequantize_per_channel.default(self.first, self.scales, self.zeros, 0, -127, 127, torch.int8)
        hidden = torch.relu(nn.functional.linear(_codes(x, 0.03, 120), weight, self.bias))
        weight = operators.dequantize_per_tensor.default(self.second, 0.004, 0, -127, 127, torch.int8)
        return nn.functional.linear(_codes(hidden, 0.02, 0), weight)


class Dynamic(Static):
    """With the scale of x found while running."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale, zero = operators.choose_qparams.tensor(x, 0, 255, 1e-7, torch.uint8)
        codes = operators.quantize_per_tensor.tensor(x, scale, zero, 0, 255, torch.uint8)
        real = operators.dequantize_per_tensor.tensor(codes, scale, zero, 0, 255, torch.uint8)
        weight = operators.dequantize_per_channel.default(self.first, self.scales, self.zeros, 0, -127, 127, torch.int8)
        return nn.functional.linear(real, weight, self.bias)


@pytest.mark.parametrize("kind", [Static, Dynamic])
def test_exported_program(kind: type[Static]) -> None:
    net, x = kind().eval(), torch.randn(3, 5, 24, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        program = torch.export.export(net, (x,), strict=False)
        expected = net(x).numpy()
    compiled = sparsec.compile(program)
    (found,) = compiled.run({compiled.inputs[0].name: x.numpy()}).values()
    # A tie may round to the other side: one step of a few codes.
    assert np.abs(found - expected).max() <= 2e-2 * np.abs(expected).max()
    assert np.abs(found - expected).mean() <= 1e-3 * np.abs(expected).max()
    assert {layer.choice.split("_")[0] for layer in compiled.report.layers} == {"u8s8"}
