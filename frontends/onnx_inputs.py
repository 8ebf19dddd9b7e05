"""The inputs of an ONNX graph get static shapes: the user's, their own, or 1 for a batch that nobody names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from sparsec.errors import ModelError, UnsupportedOpError
from sparsec.frontends.onnx_graph import OnnxGraph
from sparsec.frontends.onnx_shapes import infer_types, is_beyond_memory, static_shape


def fix_input_shapes(graph: OnnxGraph, shapes: Mapping[str, tuple[int, ...]] | None) -> None:
    """Give every graph input a static shape: from `shapes`, else its own; an unknown first dimension becomes 1.

    Raises `ModelError` that names the input and the option when another dimension is unknown or `shapes` does not fit.
    """
    given = dict(shapes or {})
    symbols: dict[str, int] = {}
    all_known = all(static_shape(value.type) is not None for value in graph.graph.input)
    for value in graph.graph.input:
        _fix(value, given.pop(value.name, None), symbols)
        shape = static_shape(value.type)
        if shape is not None and 0 in shape:
            # Nothing is unknown about a tensor without elements: "reduce over no axes", say.
            dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            _read_instead(graph, value.name, np.zeros(shape, dtype))
    if not all_known or _contradicts_itself(graph):
        _forget_shapes(graph.graph)
    if given:
        names = ", ".join(value.name for value in graph.graph.input) or "none"
        raise ModelError(f"The model has no input named {next(iter(given))!r}", where=graph.name, expected=names)


def _read_instead(graph: OnnxGraph, name: str, value: NDArray[np.generic]) -> None:
    """Let every node of the main graph read the constant `value` in place of the input `name`."""
    constant = f"{name}/value"
    graph.constants[constant] = value
    for node in graph.graph.node:
        node.input[:] = [constant if read == name else read for read in node.input]


def _fix(value: onnx.ValueInfoProto, given: tuple[int, ...] | None, symbols: dict[str, int]) -> None:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise UnsupportedOpError(
            f"The input {value.name!r} is not a tensor",
            where=f"input {value.name!r}",
            expected="a tensor",
            got=str(kind),
        )
    if value.type.tensor_type.elem_type == TensorProto.STRING:
        raise UnsupportedOpError(f"The input {value.name!r} holds strings", where=f"input {value.name!r}")
    shape = value.type.tensor_type.shape
    known = value.type.tensor_type.HasField("shape")
    option = f"--shape {value.name}=1,3,224,224 (with this model's sizes)"
    if given is None:
        if not known:
            raise ModelError(f"The input {value.name!r} has no shape", where=f"input {value.name!r}", next_step=option)
        given = tuple(_dimension(value, axis, symbols) for axis in range(len(shape.dim)))
    declared = _describe(shape) if known else "any"
    fits = not known or (
        len(given) == len(shape.dim)
        and all(
            not dim.HasField("dim_value") or dim.dim_value in (-1, size)
            for dim, size in zip(shape.dim, given, strict=True)
        )
    )
    if not fits or any(size < 0 for size in given):
        raise ModelError(
            f"The shape given for input {value.name!r} does not fit",
            where=f"input {value.name!r}",
            expected=declared,
            got=",".join(map(str, given)),
        )
    for dim, size in zip(shape.dim, given, strict=False):
        if dim.dim_param:
            symbols.setdefault(dim.dim_param, size)
    value.type.CopyFrom(helper.make_tensor_type_proto(value.type.tensor_type.elem_type, given))
    if is_beyond_memory(value.type):
        got = ",".join(map(str, given))
        raise ModelError("No tensor has the shape of an input", where=f"input {value.name!r}", got=got)


def _dimension(value: onnx.ValueInfoProto, axis: int, symbols: Mapping[str, int]) -> int:
    shape = value.type.tensor_type.shape
    dim = shape.dim[axis]
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    if dim.dim_param in symbols:
        return symbols[dim.dim_param]
    if axis == 0:
        return 1
    raise ModelError(
        f"Dimension {axis} of input {value.name!r} is unknown",
        where=f"input {value.name!r}",
        expected="sizes that are known when compiling",
        got=_describe(shape),
        next_step=f"--shape {value.name}=" + ",".join(_or_size(d, i) for i, d in enumerate(shape.dim)),
    )


def _describe(shape: onnx.TensorShapeProto) -> str:
    sizes = (
        str(d.dim_value) if d.HasField("dim_value") and d.dim_value >= 0 else d.dim_param or "?" for d in shape.dim
    )
    return ",".join(sizes)


def _or_size(dim: onnx.TensorShapeProto.Dimension, axis: int) -> str:
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return str(dim.dim_value)
    return "1" if axis == 0 else f"<{dim.dim_param or 'size'}>"


def _contradicts_itself(graph: OnnxGraph) -> bool:
    """Whether the model states another shape for a value than follows from its inputs; other engines take what follows."""
    stated = [*graph.graph.value_info, *graph.graph.output]
    bare = graph.to_model()
    _forget_shapes(bare.graph)
    found = infer_types(OnnxGraph(bare, graph.name))
    shapes = ((static_shape(value.type), static_shape(found.get(value.name))) for value in stated)
    return any(one is not None and other is not None and one != other for one, other in shapes)


def _forget_shapes(graph: onnx.GraphProto) -> None:
    """Drop stated intermediate shapes: they may contradict those of the inputs."""
    del graph.value_info[:]
    for output in graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
