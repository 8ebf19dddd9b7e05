"""Codes behind codes and clips, against ONNX Runtime: shorter ways give the same bytes."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import sparsec

COUNT = 512
SCALES = (0.02, 6 / 255, 0.05, 0.1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=25)
@given(
    st.tuples(st.sampled_from(SCALES), st.sampled_from(SCALES)),
    st.tuples(st.sampled_from([0, 7, 128, 255]), st.sampled_from([0, 9, 128])),
    st.sampled_from([(0.0, 6.0), (0.0, 1.5), (-1.0, 1.0), (-3.0, 20.0), (0.0, 1e9), (0.5, 2.0)]),
)
def test_a_quantisation_a_sum_a_clip_and_a_quantisation(
    scales: tuple[float, float], zeros: tuple[int, int], clip: tuple[float, float]
) -> None:
    numbers = {
        "first": np.float32(scales[0]),
        "first_zero": np.uint8(zeros[0]),
        "bias": np.linspace(-2, 2, 4, dtype=np.float32),
        "low": np.float32(clip[0]),
        "high": np.float32(clip[1]),
        "second": np.float32(scales[1]),
        "second_zero": np.uint8(zeros[1]),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "first", "first_zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "first", "first_zero"], ["d"]),
        helper.make_node("Add", ["d", "bias"], ["s"]),
        helper.make_node("Clip", ["s", "low", "high"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "second", "second_zero"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "codes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [COUNT, 4])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [COUNT, 4])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    x = np.random.default_rng(0).standard_normal((COUNT, 4)).astype(np.float32) * 4
    x[:3] = np.array([np.inf, -np.inf, 0.0], np.float32)[:, None]
    x[3:40] = ((np.arange(37) - 18) * np.float32(scales[0]) / 2)[:, None]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})
    np.testing.assert_array_equal(np.asarray(sparsec.compile(model)(x)), expected)
