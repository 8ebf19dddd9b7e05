"""Axes that a node names and its operand lacks: ONNX forbids them, and torch-mlir ends on some of them never, on some wrongly."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import TypeProto

from sparsec.frontends.onnx_graph import OnnxGraph
from sparsec.frontends.onnx_refusal import unsupported

_OF_FIRST_INPUT = frozenset(
    (
        *("Softmax", "LogSoftmax", "Hardmax", "ArgMax", "ArgMin", "Gather", "GatherElements", "ScatterElements"),
        *("Concat", "Split", "LayerNormalization", "TopK"),
    )
)
"""Operators whose attribute `axis` is one of their first input's, counted from either end."""


def require_axes(graph: OnnxGraph, types: Mapping[str, TypeProto]) -> None:
    """Raise `UnsupportedOpError` for the first such node."""
    for node in graph.graph.node:
        axis = next((each.i for each in node.attribute if each.name == "axis"), None)
        if axis is None or node.op_type not in _OF_FIRST_INPUT or node.domain not in ("", "ai.onnx"):
            continue
        rank = _rank(node.input[0], graph, types) if node.input else None
        if rank is not None and not -rank <= axis < rank:
            raise unsupported(graph, types, node.name, f"axis {axis} of a tensor of {rank} dimensions is out of range")


def _rank(name: str, graph: OnnxGraph, types: Mapping[str, TypeProto]) -> int | None:
    """None where it is not known; a scalar counts as a vector of one, as in ONNX Runtime."""
    if name in graph.constants:
        return max(graph.constants[name].ndim, 1)
    if name not in types or not types[name].tensor_type.HasField("shape"):
        return None
    return max(len(types[name].tensor_type.shape.dim), 1)
