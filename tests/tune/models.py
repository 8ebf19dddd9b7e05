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
