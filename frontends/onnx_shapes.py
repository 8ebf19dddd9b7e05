"""Types of the values of an ONNX graph, as ONNX infers them."""

from __future__ import annotations

from math import prod

import onnx
from onnx import TypeProto

from sparsec.errors import ModelError
from sparsec.frontends.onnx_graph import OnnxGraph

MOST_ELEMENTS = 1 << 40
"""Of a tensor: terabytes."""


def infer_types(graph: OnnxGraph) -> dict[str, TypeProto]:
    """Run ONNX shape inference; raises `ModelError` when the model contradicts itself."""
    try:
        model = onnx.shape_inference.infer_shapes(graph.to_model(), check_type=False, strict_mode=False, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise ModelError(f"The model's shapes contradict each other: {error}", where=graph.name) from error
    values = [*model.graph.value_info, *model.graph.output, *model.graph.input]
    return {value.name: value.type for value in values}


def static_shape(type_: TypeProto | None) -> tuple[int, ...] | None:
    """The shape of a tensor type when every dimension is known."""
    if type_ is None or not type_.tensor_type.HasField("shape"):
        return None
    dims = type_.tensor_type.shape.dim
    if not all(dim.HasField("dim_value") for dim in dims):
        return None
    return tuple(int(dim.dim_value) for dim in dims)


def is_beyond_memory(type_: TypeProto | None) -> bool:
    """Whether no memory holds such a tensor."""
    return prod(static_shape(type_) or ()) > MOST_ELEMENTS
