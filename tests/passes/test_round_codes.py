"""Codes behind codes and clips, against ONNX Runtime, and of numbers half-way between them: shorter ways give the same bytes."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import sparsec
from sparsec.passes.round_codes import _Quotient

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


def codes(scale: np.float32, zero: int, x: np.ndarray) -> np.ndarray:
    """What a model of one QuantizeLinear gives for `x`."""
    numbers = {"scale": scale, "zero": np.uint8(zero)}
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])],
        "codes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, x.shape)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return np.asarray(sparsec.compile(model)(x))


def near_steps(scale: np.float32, zero: int) -> np.ndarray:
    """Floats next to those whose quotients lie half-way between two codes, and others that are no code."""
    middle = ((np.arange(-zero - 1, 257 - zero) + 0.5) * np.float64(scale)).astype(np.float32)
    near = middle.view(np.int32)[:, None] + np.arange(-5, 6, dtype=np.int32)
    far = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-45], np.float32)
    return np.concatenate([near.reshape(-1).view(np.float32), far])


def exact(scale: np.float32, zero: int, x: np.ndarray) -> np.ndarray:
    """Quotients rounded once, then to the nearest whole number; NaN is the least code."""
    with np.errstate(over="ignore"):
        return np.nan_to_num(np.clip(np.rint(x / scale) + np.float32(zero), 0, 255)).astype(np.uint8)


@settings(max_examples=12)
@given(st.floats(-17, 6), st.integers(0, 255))
def test_codes_step_where_quotients_do(exponent: float, zero: int) -> None:
    scale = np.float32(np.exp(exponent))
    x = near_steps(scale, zero)
    np.testing.assert_array_equal(codes(scale, zero, x), exact(scale, zero, x))


def test_quotients_stay_where_two_products_would_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Quotient, "steps", lambda *_: False)
    scale, zero = np.float32(0.0347), 124
    x = near_steps(scale, zero)
    np.testing.assert_array_equal(codes(scale, zero, x), exact(scale, zero, x))
