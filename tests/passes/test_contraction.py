"""Products whose operands do not fit together are refused with the node's name, whatever becomes of them later."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import sparsec
from sparsec.errors import ModelError

Shape = tuple[int, ...]


def model(op: str, x: Shape, w: Shape, y: Shape, *, constant: bool = True, **attributes: int) -> bytes:
    whole = op.endswith("Integer")
    first, second, result = (
        (TensorProto.UINT8, np.int8, TensorProto.INT32) if whole else (TensorProto.FLOAT, np.float32, TensorProto.FLOAT)
    )
    inputs = [helper.make_tensor_value_info("x", first, x)]
    if not constant:
        inputs.append(helper.make_tensor_value_info("w", first, w))
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"], ["y"], name="the node", **attributes)],
        "g",
        inputs,
        [helper.make_tensor_value_info("y", result, y)],
        [numpy_helper.from_array(np.ones(w, second), "w")] if constant else [],
    )
    proto: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return proto.SerializeToString()


@pytest.mark.parametrize(
    ("op", "x", "w", "y"),
    [
        ("MatMul", (4, 8), (7, 5), (4, 5)),
        ("MatMul", (2, 4, 8), (7, 5), (2, 4, 5)),
        ("Gemm", (4, 8), (7, 5), (4, 5)),
        ("MatMulInteger", (4, 8), (7, 5), (4, 5)),
        ("Conv", (1, 8, 9), (5, 7, 3), (1, 5, 7)),
        ("ConvInteger", (1, 8, 9, 9), (5, 7, 3, 3), (1, 5, 7, 7)),
    ],
)
def test_a_weight_that_does_not_fit(op: str, x: Shape, w: Shape, y: Shape) -> None:
    with pytest.raises(ModelError, match="contradict") as refusal:
        sparsec.compile(model(op, x, w, y))
    assert "the node" in str(refusal.value.where)


@pytest.mark.parametrize("groups", [2, 3])
def test_groups_that_do_not_divide(groups: int) -> None:
    with pytest.raises(ModelError, match="contradict"):
        sparsec.compile(model("Conv", (1, 8, 9), (5, 4, 3), (1, 5, 7), group=groups))


@pytest.mark.parametrize(("x", "w"), [((4, 8), (7, 5)), ((3, 4, 8), (3, 7, 5))])
def test_two_activations_that_do_not_fit(x: Shape, w: Shape) -> None:
    with pytest.raises(ModelError, match="contradict"):
        sparsec.compile(model("MatMul", x, w, (*x[:-1], 5), constant=False))
