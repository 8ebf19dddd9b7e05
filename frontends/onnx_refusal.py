"""Saying which node of an ONNX graph cannot be compiled, and why."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import NodeProto, TypeProto

from sparsec.errors import UnsupportedOpError
from sparsec.frontends.onnx_graph import OnnxGraph


def unsupported(graph: OnnxGraph, types: Mapping[str, TypeProto], place: str, reason: str) -> UnsupportedOpError:
    """The error for the node called `place`, with its operator and shapes."""
    node = next((n for n in graph.graph.node if n.name == place), None)
    if node is None:
        return UnsupportedOpError("The model cannot be compiled", where=place or graph.name, got=reason)
    return UnsupportedOpError(
        f"The operator {node.op_type} cannot be compiled here",
        where=f"node {node.name!r} ({node.domain or 'ai.onnx'} {node.op_type}, opset {graph.opset})",
        expected="a form that torch-mlir lowers",
        got=f"{signature(node, graph, types)}; {reason}",
    )


def signature(node: NodeProto, graph: OnnxGraph, types: Mapping[str, TypeProto]) -> str:
    """Types and shapes of a node's operands and results: "(float[2, 3], int64[1]) -> (float[2])"."""

    def describe(name: str) -> str:
        if name in graph.constants:
            value = graph.constants[name]
            return f"{value.dtype}{list(value.shape)}"
        if name not in types:
            return "?"
        tensor = types[name].tensor_type
        known = tensor.elem_type in onnx.TensorProto.DataType.values()
        element = onnx.TensorProto.DataType.Name(tensor.elem_type).lower() if known else str(tensor.elem_type)
        sizes = [str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim]
        return f"{element}[{', '.join(sizes)}]"

    inputs = ", ".join(describe(name) for name in node.input if name)
    outputs = ", ".join(describe(name) for name in node.output if name)
    return f"({inputs}) -> ({outputs})"
