"""Axes that an operand lacks are refused before anything is made of them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from sparsec.errors import UnsupportedOpError
from sparsec.frontends.onnx import import_onnx
from sparsec.ir.context import make_context

_RANK = 2
_INPUTS = {
    "Gather": ["x", "places"],
    "Concat": ["x", "x"],
    "LayerNormalization": ["x", "scale"],
    "GatherElements": ["x", "places"],
}


def _model(node: NodeProto) -> ModelProto:
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)],
        [
            numpy_helper.from_array(np.array([[0, 1], [1, 0]]), "places"),
            numpy_helper.from_array(np.ones(4, np.float32), "scale"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("axis", [-_RANK - 1, _RANK, _RANK + 1])
@pytest.mark.parametrize(
    "operator", ["Softmax", "LogSoftmax", "Gather", "GatherElements", "Concat", "Split", "LayerNormalization"]
)
def test_an_axis_that_there_is_not(operator: str, axis: int) -> None:
    splits = {"num_outputs": 2} if operator == "Split" else {}
    outputs = ["y", "z"] if operator == "Split" else ["y"]
    node = helper.make_node(operator, _INPUTS.get(operator, ["x"]), outputs, axis=axis, name="it", **splits)
    with pytest.raises(
        UnsupportedOpError, match=rf"'it'(.|\n)*axis {axis} of a tensor of 2 dimensions is out of range"
    ):
        import_onnx(_model(node), context=make_context())


@pytest.mark.parametrize("axis", [-_RANK, -1, 0, 1])
def test_axes_that_there_are(axis: int) -> None:
    import_onnx(_model(helper.make_node("Softmax", ["x"], ["y"], axis=axis)), context=make_context())


@pytest.mark.parametrize(
    "wrong", [{"strides": [2]}, {"pads": [0, 0, 0]}, {"dilations": [1, 1, 1]}, {"kernel_shape": [2]}]
)
def test_windows_of_other_dimensions_than_the_picture(wrong: dict[str, list[int]]) -> None:
    pool = helper.make_node("MaxPool", ["x4"], ["y"], name="it", **{"kernel_shape": [2, 2], **wrong})
    model = _model(pool)
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x4", TensorProto.FLOAT, [1, 1, 4, 4]))
    with pytest.raises(UnsupportedOpError, match="'it'"):
        import_onnx(model, context=make_context())
