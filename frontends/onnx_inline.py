"""A nested ONNX graph becomes part of the one that it is in."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import NodeProto, helper

from sparsec.frontends.onnx_graph import OnnxGraph, read_tensor, subgraphs


def inline_subgraph(
    graph: OnnxGraph, body: onnx.GraphProto, arguments: Mapping[str, str], results: list[str], prefix: str
) -> list[NodeProto]:
    """The nodes of `body` with its inputs replaced by `arguments`, its outputs named `results`, and all other values
    renamed.
    """
    local = {name for inner in body.node for name in inner.output if name}
    local |= {tensor.name for tensor in body.initializer}
    rename = {name: f"{prefix}/{name}" for name in local} | dict(arguments)
    for tensor in body.initializer:
        graph.constants[rename[tensor.name]] = read_tensor(tensor, graph.folder)
    nodes = [_renamed(inner, rename, prefix) for inner in body.node]
    for output, result in zip(body.output, results, strict=True):
        if result:
            source = rename.get(output.name, output.name)
            nodes.append(helper.make_node("Identity", [source], [result], name=f"{prefix}/{output.name}"))
    return nodes


def _renamed(node: NodeProto, rename: Mapping[str, str], prefix: str) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.name = f"{prefix}/{node.name or node.op_type}"
    copy.input[:] = [rename.get(name, name) for name in node.input]
    copy.output[:] = [rename.get(name, name) for name in node.output]
    for subgraph in subgraphs(copy):
        _rename_captured(subgraph, rename)
    return copy


def _rename_captured(body: onnx.GraphProto, rename: Mapping[str, str]) -> None:
    """Rename what a nested graph reads from outside; what it defines itself hides the outer name."""
    own = {value.name for value in body.input} | {name for node in body.node for name in node.output}
    outer = {old: new for old, new in rename.items() if old not in own}
    for node in body.node:
        node.input[:] = [outer.get(name, name) for name in node.input]
        for subgraph in subgraphs(node):
            _rename_captured(subgraph, outer)
    for output in body.output:
        output.name = outer.get(output.name, output.name)
