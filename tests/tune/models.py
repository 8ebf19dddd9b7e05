"""A model of two layers for tests."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def two_layers(tokens: int = 32) -> onnx.ModelProto:
    """y = relu(x @ w1) @ w2: x [tokens, 24], w1 [24, 18] with three of four weights zero, w2 [18, 20]."""
    random = np.random.default_rng(0)
    w1, w2 = (random.standard_normal(shape).astype(np.float32) for shape in ((24, 18), (18, 20)))
    w1[random.random(w1.shape) < 0.75] = 0
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("MatMul", ["b", "w2"], ["y"], name="second"),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [tokens, 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [tokens, 20])],
        [numpy_helper.from_array(w1, "w1"), numpy_helper.from_array(w2, "w2")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def two_quantised_layers(tokens: int = 32) -> onnx.ModelProto:
    """The same network with activations as unsigned codes and weights as signed ones, of a scale per output."""
    random = np.random.default_rng(0)
    nodes, constants = [], []

    def constant(name: str, value: object, dtype: type[np.generic]) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def codes(x: str, scale: float, zero: int) -> str:
        parameters = [constant(f"{x}_scale", scale, np.float32), constant(f"{x}_zero", zero, np.uint8)]
        nodes.append(helper.make_node("QuantizeLinear", [x, *parameters], [f"{x}_codes"], name=f"{x}_codes"))
        nodes.append(helper.make_node("DequantizeLinear", [f"{x}_codes", *parameters], [f"{x}_real"]))
        return f"{x}_real"

    def weight(name: str, shape: tuple[int, int], zeros: float) -> str:
        values = random.integers(-127, 128, shape)
        values[random.random(shape) < zeros] = 0
        scales = random.random(shape[1]) / 1000 + 0.001
        parameters = [
            constant(f"{name}_scales", scales, np.float32),
            constant(f"{name}_zeros", [0] * shape[1], np.int8),
        ]
        nodes.append(
            helper.make_node(
                "DequantizeLinear", [constant(name, values, np.int8), *parameters], [f"{name}_real"], axis=1
            )
        )
        return f"{name}_real"

    nodes.append(helper.make_node("MatMul", [codes("x", 0.03, 120), weight("w1", (24, 18), 0.75)], ["a"], name="first"))
    nodes.append(helper.make_node("Relu", ["a"], ["b"], name="relu"))
    nodes.append(helper.make_node("MatMul", [codes("b", 0.02, 0), weight("w2", (18, 20), 0)], ["y"], name="second"))
    graph = helper.make_graph(
        nodes,
        "two_quantised",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [tokens, 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [tokens, 20])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
