"""Networks of one layer, of awkward shapes and patterns; in int8 with what they compute in whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.generic]
F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which weights of a matrix [rows, columns] are kept: whole blocks of `height` neighbouring rows."""

    density: float
    height: int = 1

    def sparse(self, shape: tuple[int, ...], random: np.random.Generator) -> F32:
        matrix = random.standard_normal((shape[0], int(np.prod(shape[1:])))).astype(np.float32)
        blocks = random.random((-(-shape[0] // self.height), matrix.shape[1])) < self.density
        return (matrix * np.repeat(blocks, self.height, axis=0)[: shape[0]]).reshape(shape).astype(np.float32)

    def sparse_bytes(self, shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.int8]:
        """The same of signed bytes of any size."""
        return random.integers(-128, 128, shape, np.int8) * (self.sparse(shape, random) != 0)


DENSE, SPARSE, FEW, EMPTY, BLOCKS = Pattern(1.0), Pattern(0.3), Pattern(0.05), Pattern(0.0), Pattern(0.2, 4)


def _model(
    nodes: list[onnx.NodeProto],
    x: tuple[int, ...],
    y: tuple[int, ...],
    kinds: tuple[int, int] = (TensorProto.FLOAT, TensorProto.FLOAT),
    **weights: Array,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", kinds[0], x)],
        [helper.make_tensor_value_info("y", kinds[1], y)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def linear(tokens: int, inputs: int, outputs: int, pattern: Pattern) -> onnx.ModelProto:
    """y = relu(x w^T + b)."""
    random = np.random.default_rng(tokens + inputs + outputs)
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["a"], transB=1, name="layer"),
        helper.make_node("Relu", ["a"], ["y"], name="relu"),
    ]
    weight = pattern.sparse((outputs, inputs), random)
    bias = random.standard_normal(outputs).astype(np.float32)
    return _model(nodes, (tokens, inputs), (tokens, outputs), w=weight, b=bias)


def linear_bytes(tokens: int, inputs: int, outputs: int, pattern: Pattern) -> onnx.ModelProto:
    """y = (x - 3) w of unsigned x and signed w, in whole numbers."""
    node = helper.make_node("MatMulInteger", ["x", "w", "zero"], ["y"], name="layer")
    weight = pattern.sparse_bytes((outputs, inputs), np.random.default_rng(tokens + inputs + outputs))
    return _model([node], (tokens, inputs), (tokens, outputs), _BYTES, w=weight.T.copy(), zero=np.array(3, np.uint8))


_BYTES = (TensorProto.UINT8, TensorProto.INT32)


@dataclass(frozen=True, slots=True)
class Conv:
    """A two-dimensional convolution; strides, dilations and paddings are those of both axes."""

    channels: int
    filters: int
    size: tuple[int, int]
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    dilation: int = 1
    padding: int = 0
    groups: int = 1

    def model(self, pattern: Pattern) -> onnx.ModelProto:
        """y = min(max(conv(x), 0), 6) + conv's bias."""
        random = np.random.default_rng(self.channels + self.filters)
        conv = self._node("Conv", ["x", "w", "b"], "a")
        clip = helper.make_node("Clip", ["a", "low", "high"], ["y"], name="clip")
        return _model(
            [conv, clip],
            (1, self.channels, *self.size),
            (1, self.filters, *self._outs),
            w=pattern.sparse(self._weight, random),
            b=random.standard_normal(self.filters).astype(np.float32),
            low=np.array(0, np.float32),
            high=np.array(6, np.float32),
        )

    def model_bytes(self, pattern: Pattern) -> onnx.ModelProto:
        """y = conv(x - 3) of unsigned x and signed weights, in whole numbers."""
        node = self._node("ConvInteger", ["x", "w", "zero"], "y")
        weight = pattern.sparse_bytes(self._weight, np.random.default_rng(self.channels + self.filters))
        shapes = (1, self.channels, *self.size), (1, self.filters, *self._outs)
        return _model([node], *shapes, _BYTES, w=weight, zero=np.array(3, np.uint8))

    @property
    def _weight(self) -> tuple[int, ...]:
        return (self.filters, self.channels // self.groups, *self.kernel)

    @property
    def _outs(self) -> list[int]:
        return [
            (size + 2 * self.padding - self.dilation * (kernel - 1) - 1) // self.stride + 1
            for size, kernel in zip(self.size, self.kernel, strict=True)
        ]

    def _node(self, kind: str, inputs: list[str], output: str) -> onnx.NodeProto:
        return helper.make_node(
            kind,
            inputs,
            [output],
            name="layer",
            group=self.groups,
            strides=[self.stride] * 2,
            dilations=[self.dilation] * 2,
            pads=[self.padding] * 4,
        )
