"""The order of the channels that stay: blocks stay blocks, and the numbers stay what they are."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import sparsec
from sparsec.passes.prune_channels import in_blocks


@settings(max_examples=300)
@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_aligned_blocks_that_stay_whole_stay_aligned(live: list[bool]) -> None:
    mask = np.array(live)
    order = in_blocks(mask)
    assert sorted(order) == list(np.flatnonzero(mask))
    for size in (4, 8, 16):
        before = {start for start in range(0, len(mask) - size + 1, size) if mask[start : start + size].all()}
        found = [order[at : at + size] for at in range(0, len(order) - size + 1, size)]
        after = {block[0] for block in found if (np.diff(block) == 1).all() and block[0] % size == 0}
        assert before <= after


@given(st.integers(1, 70))
def test_channels_that_all_stay_keep_their_order(count: int) -> None:
    assert list(in_blocks(np.ones(count, np.bool_))) == list(range(count))


def bottleneck(dead: list[int]) -> onnx.ModelProto:
    """8 -> 24 -> depthwise -> 8 channels; the dead ones of the 24 are constant, the first weight has blocks of 4 filters."""
    random = np.random.default_rng(0)
    expand = random.standard_normal((24, 8, 1, 1)) * (random.random((6, 8, 1, 1)) < 0.4).repeat(4, axis=0)
    expand[dead] = 0
    weights = {
        "expand": expand,
        "bias": random.standard_normal(24),
        "depthwise": random.standard_normal((24, 1, 3, 3)),
        "project": random.standard_normal((8, 24, 1, 1)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "expand", "bias"], ["a"], name="expand"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "depthwise"], ["c"], name="depthwise", group=24, pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Conv", ["d", "project"], ["y"], name="project"),
    ]
    graph = helper.make_graph(
        nodes,
        "bottleneck",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 9, 9])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("dead", [[1], [5, 6, 20], [0, 1, 2, 3], list(range(2, 24))])
def test_a_network_with_constant_channels(dead: list[int]) -> None:
    model = bottleneck(dead)
    x = np.random.default_rng(1).standard_normal((1, 8, 9, 9)).astype(np.float32)
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    compiled = sparsec.compile(model)
    np.testing.assert_allclose(compiled.run({"x": x})["y"], expected, rtol=1e-4, atol=1e-4)


def test_a_weight_keeps_its_blocks() -> None:
    """Without filter 1 there are five blocks of 4 filters, and three filters more."""
    (layer,) = (each for each in sparsec.compile(bottleneck([1])).report.layers if each.name == "expand")
    assert "-> 23" in layer.shape or "->23" in layer.shape, layer.shape
    assert "4x1" in layer.pattern, layer.pattern
