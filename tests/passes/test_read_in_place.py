"""read_in_place: attention whose heads lie among the tokens, whole networks against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

import sparsec
from sparsec.model import CompiledModel

COPIES = "Transpose"  # in the names of steps that only move elements


def attention(
    shape: tuple[int, int, int, int], order: tuple[int, ...], *, leaks: bool = False, back: bool = False
) -> ModelProto:
    """softmax(q k^T) v of one x [batch, tokens, heads, size], heads moved to the front; q is an output, too, if it leaks.

    k is twice x, so that its copy computes something and stays. The result is moved `back` to where x was.
    """
    swapped = (*order[:2], order[3], order[2])
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["twice"]),
        helper.make_node("Transpose", ["x"], ["q"], perm=order),
        helper.make_node("Transpose", ["twice"], ["k"], perm=swapped),
        helper.make_node("Transpose", ["x"], ["v"], perm=order),
        helper.make_node("MatMul", ["q", "k"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["r" if back else "y"]),
    ]
    if back:
        nodes.append(helper.make_node("Transpose", ["r"], ["y"], perm=[order.index(axis) for axis in range(4)]))
    moved = [shape[axis] for axis in order]
    outputs = {"y": list(shape) if back else moved, **({"q": moved} if leaks else {})}
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, each) for name, each in outputs.items()],
        [numpy_helper.from_array(np.float32(2), "two")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def check(model: ModelProto, shape: tuple[int, ...]) -> CompiledModel:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32) / 2
    compiled = sparsec.compile(model)
    found = compiled(x)
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    for ours, theirs in zip(found if isinstance(found, tuple) else (found,), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
    return compiled


def copies(model: CompiledModel) -> int:
    """Loops that only move elements."""
    return sum(COPIES in step.layer and step.kernel.startswith("loop") for step in model.session.program.steps)


@pytest.mark.parametrize(
    ("shape", "leaks", "expected"),
    [((1, 64, 4, 16), False, 1), ((1, 64, 4, 16), True, 2), ((2, 64, 4, 16), False, 2), ((1, 33, 3, 7), False, 1)],
)
def test_heads_are_not_copied(shape: tuple[int, int, int, int], leaks: bool, expected: int) -> None:
    assert copies(check(attention(shape, (0, 2, 1, 3), leaks=leaks), shape)) == expected


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 4), st.integers(1, 20)),
    st.sampled_from([(0, 2, 1, 3), (2, 0, 1, 3), (1, 0, 2, 3), (0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0)]),
    st.booleans(),
    st.booleans(),
)
def test_orders_of_any_kind(shape: tuple[int, int, int, int], order: tuple[int, ...], leaks: bool, back: bool) -> None:
    check(attention(shape, order, leaks=leaks, back=back), shape)


@pytest.mark.parametrize(("shape", "expected"), [((1, 64, 4, 16), 1), ((2, 64, 4, 16), 3), ((1, 33, 3, 7), 1)])
def test_results_are_written_where_they_go(shape: tuple[int, int, int, int], expected: int) -> None:
    """k is computed in any case; of several samples, x and the results are moved."""
    assert copies(check(attention(shape, (0, 2, 1, 3), back=True), shape)) == expected
