"""Bringing an ONNX graph to an operator set that the rest of the frontend knows, without functions of the model's own."""

from __future__ import annotations

import contextlib

import onnx
import onnx.inliner
import onnx.version_converter
from onnx import NodeProto, helper

from sparsec.frontends.onnx_contrib import expand_contrib
from sparsec.frontends.onnx_graph import OnnxGraph

OLDEST_OPSET = 17
"""Models of an older operator set are converted to this one; torch-mlir's coverage below it is thin."""

DEFAULT_OPSET = 21
"""The operator set assumed when a model imports only other domains."""


def modernise(graph: OnnxGraph) -> None:
    """Name the default operator set when only others are, inline the model's own functions, and convert an old
    operator set.
    """
    if not any(opset.domain in ("", "ai.onnx") for opset in graph.model.opset_import):
        graph.model.opset_import.append(helper.make_opsetid("", DEFAULT_OPSET))
    if graph.model.functions:
        graph.reload(onnx.inliner.inline_local_functions(graph.to_model()))
    expand_contrib(graph)
    scans = any(node.op_type == "Scan" for node in graph.graph.node)
    if graph.opset < OLDEST_OPSET and not (scans and graph.opset < 9):
        # The converter does not know every old operator (the importer may still), and takes Scan-8 for Scan-9.
        _flatten_hardmax(graph)
        asymmetric = _asymmetric(graph)
        stated = {value.name for value in graph.graph.value_info}
        with contextlib.suppress(RuntimeError, ValueError, onnx.version_converter.ConvertError):
            graph.reload(onnx.version_converter.convert_version(graph.to_model(), OLDEST_OPSET))
        _keep_asymmetric(graph, asymmetric)
        _keep_stated(graph, stated)


def _keep_stated(graph: OnnxGraph, stated: set[str]) -> None:
    """Drop the types of other values: the converter inferred them before anything was folded, and inference of ONNX keeps
    the unknown dimensions that it finds.
    """
    graph.keep_types(lambda value: value.name in stated)


def _flatten_hardmax(graph: OnnxGraph) -> None:
    """Before operator set 13, Hardmax is over all axes from one on; the converter forgets it."""
    nodes: list[NodeProto] = []
    for node in graph.graph.node:
        if node.op_type != "Hardmax" or graph.opset >= 13:
            nodes.append(node)
            continue
        axis = next((int(a.i) for a in node.attribute if a.name == "axis"), 1)
        x, flat, hard, shape = node.input[0], *(f"{node.output[0]}/{stem}" for stem in ("flat", "hard", "shape"))
        nodes.append(helper.make_node("Flatten", [x], [flat], axis=axis))
        nodes.append(helper.make_node("Hardmax", [flat], [hard], axis=1))
        nodes.append(helper.make_node("Shape", [x], [shape]))
        nodes.append(helper.make_node("Reshape", [hard, shape], [node.output[0]], name=node.name))
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def _asymmetric(graph: OnnxGraph) -> set[str]:
    """The results of nodes that resize as was done before operator set 11."""
    if graph.opset >= 11:
        return set()
    return {node.output[0] for node in graph.graph.node if node.op_type in ("Upsample", "Resize")}


def _keep_asymmetric(graph: OnnxGraph, results: set[str]) -> None:
    """Say in attributes how these nodes resize; the converter forgets it."""
    for node in graph.graph.node:
        if node.op_type == "Resize" and node.output[0] in results:
            words = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            kept = [attribute for attribute in node.attribute if attribute.name not in words]
            del node.attribute[:]
            node.attribute.extend([*kept, *(helper.make_attribute(name, word) for name, word in words.items())])
