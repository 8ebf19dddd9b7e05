"""Channels that are constant leave integer networks, too, and every code stays what it was."""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import sparsec
from sparsec.reference import OnnxRuntime

SIZE = 9


def network(random: np.random.Generator, zeros: list[int], empty: float, kernel: int) -> onnx.ModelProto:
    """Pointwise, depthwise, pointwise and full convolutions of codes; a share of their filters is empty."""
    constants: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, value: object) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    constant("x_scale", np.float32(0.05))
    constant("x_zero", np.uint8(zeros[0]))
    nodes.append(helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["y0"]))
    shapes = [(16, 6, 1), (16, 1, kernel), (12, 16, 1), (5, 12, kernel)]
    for number, (filters, inside, size) in enumerate(shapes, 1):
        weight = random.integers(-127, 128, (filters, inside, size, size), dtype=np.int8)
        if number < len(shapes):
            weight[random.random(filters) < empty] = 0
        bias = random.integers(-9000, 9000, filters, dtype=np.int32)
        inputs = [
            f"y{number - 1}",
            "x_scale",
            constant(f"in_zero{number}", np.uint8(zeros[number - 1])),
            constant(f"w{number}", weight),
            constant(f"w_scale{number}", np.float32(0.003)),
            constant(f"w_zero{number}", np.int8(0)),
            "x_scale",
            constant(f"out_zero{number}", np.uint8(zeros[number])),
            constant(f"bias{number}", bias),
        ]
        attributes = {"pads": [size // 2] * 4, "kernel_shape": [size] * 2, "group": filters if inside == 1 else 1}
        nodes.append(helper.make_node("QLinearConv", inputs, [f"y{number}"], **attributes))
    graph = helper.make_graph(
        nodes,
        "codes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6, SIZE, SIZE])],
        [helper.make_tensor_value_info(f"y{len(shapes)}", TensorProto.UINT8, [1, 5, SIZE, SIZE])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@settings(max_examples=12)
@given(
    st.integers(0, 1000),
    st.lists(st.sampled_from([0, 3, 128, 255]), min_size=5, max_size=5),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([1, 3]),
)
def test_codes_stay(seed: int, zeros: list[int], empty: float, kernel: int) -> None:
    random = np.random.default_rng(seed)
    model = network(random, zeros, empty, kernel)
    x = random.standard_normal((1, 6, SIZE, SIZE)).astype(np.float32) * 4
    (expected,) = OnnxRuntime(model, 1, exact=True).run({"x": x})
    compiled = sparsec.compile(model)
    np.testing.assert_array_equal(np.asarray(compiled(x)), expected)
    if empty == 1.0:
        assert any("folded away" in note for note in compiled.report.notes)
