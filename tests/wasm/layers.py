"""Networks of one layer, of awkward shapes and patterns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

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


DENSE, SPARSE, FEW, EMPTY, BLOCKS = Pattern(1.0), Pattern(0.3), Pattern(0.05), Pattern(0.0), Pattern(0.2, 4)


def _model(nodes: list[onnx.NodeProto], x: tuple[int, ...], y: tuple[int, ...], **weights: F32) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
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
        shape = (self.filters, self.channels // self.groups, *self.kernel)
        outs = [
            (size + 2 * self.padding - self.dilation * (kernel - 1) - 1) // self.stride + 1
            for size, kernel in zip(self.size, self.kernel, strict=True)
        ]
        conv = helper.make_node(
            "Conv",
            ["x", "w", "b"],
            ["a"],
            name="layer",
            group=self.groups,
            strides=[self.stride] * 2,
            dilations=[self.dilation] * 2,
            pads=[self.padding] * 4,
        )
        clip = helper.make_node("Clip", ["a", "low", "high"], ["y"], name="clip")
        return _model(
            [conv, clip],
            (1, self.channels, *self.size),
            (1, self.filters, *outs),
            w=pattern.sparse(shape, random),
            b=random.standard_normal(self.filters).astype(np.float32),
            low=np.array(0, np.float32),
            high=np.array(6, np.float32),
        )
