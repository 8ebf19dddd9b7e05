"""Nodes of an ONNX graph that are constant become constants, until nothing changes; so all shapes become static."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TypeProto, helper
from onnx.reference import ReferenceEvaluator

from sparsec.formats.coo import Coo
from sparsec.frontends.onnx_graph import OnnxGraph, subgraphs
from sparsec.frontends.onnx_inline import inline_subgraph
from sparsec.frontends.onnx_shapes import infer_types, static_shape
from sparsec.ir.weights import Weight

FOLD_ELEMENTS = 1 << 16
"""A node of any kind is folded when neither an operand nor a result has more elements than this."""

FOLD_CHEAP_ELEMENTS = 1 << 28
"""The same limit for the kinds that only move or convert elements: no weight is larger that is transposed to become a layer's."""

FOLD_SPLAT_ELEMENTS = 64
"""The same limit for ConstantOfShape: a splat costs nothing inside the module."""

CHEAP = frozenset(
    [
        "Identity",
        "Cast",
        "Reshape",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Flatten",
        "Slice",
        "Split",
        "Concat",
        "Gather",
        "Neg",
        "Sqrt",
        "Reciprocal",
        "Abs",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Pad",
        "Not",
        "Where",
    ]
)

# Quantisation is a fact about a weight that passes match; the others are not functions of their operands.
NEVER_FOLDED = frozenset(
    [
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Multinomial",
        "Bernoulli",
        "Dropout",
    ]
)


def infer_and_fold(graph: OnnxGraph) -> dict[str, TypeProto]:
    """Infer shapes and fold constant nodes in turns until neither changes anything; returns the type of each value."""
    while True:
        types = infer_types(graph)
        if not _fold_once(graph, types):
            return types
        graph.prune()


def _fold_once(graph: OnnxGraph, types: Mapping[str, TypeProto]) -> bool:
    kept: list[NodeProto] = []
    changed = False
    for node in graph.graph.node:
        inlined = _constant_if(graph, node)
        if inlined is not None:
            kept.extend(inlined)
            changed = True
            continue
        results = _fold(graph, node, types)
        if results is None:
            kept.append(node)
            continue
        changed = True
        graph.constants.update({name: value for name, value in zip(node.output, results, strict=True) if name})
    if changed:
        del graph.graph.node[:]
        graph.graph.node.extend(kept)
    return changed


def _fold(graph: OnnxGraph, node: NodeProto, types: Mapping[str, TypeProto]) -> list[Weight] | None:
    """The results of a node that is constant, or None."""
    if node.domain not in ("", "ai.onnx") or node.op_type in NEVER_FOLDED or any(True for _ in subgraphs(node)):
        return None
    if node.op_type in ("Shape", "Size"):
        return _fold_shape(node, static_shape(types.get(node.input[0])))
    if any(name and name not in graph.constants for name in node.input):
        return None
    operands = [graph.constants[name] for name in node.input if name]
    if any(isinstance(operand, Coo) for operand in operands):
        return _fold_sparse(node, graph)
    limit = FOLD_CHEAP_ELEMENTS if node.op_type in CHEAP else FOLD_ELEMENTS
    shapes = [static_shape(types.get(name)) for name in node.output if name]
    sizes = [operand.size for operand in operands] + [math.prod(shape) for shape in shapes if shape is not None]
    if node.op_type == "ConstantOfShape":
        limit = FOLD_SPLAT_ELEMENTS
        sizes += [int(np.prod(np.asarray(operand))) for operand in operands]
    if max(sizes, default=0) > limit:
        return None
    return evaluate(graph, node)


def _fold_shape(node: NodeProto, shape: tuple[int, ...] | None) -> list[Weight] | None:
    if shape is None:
        return None
    if node.op_type == "Size":
        return [np.array(math.prod(shape), dtype=np.int64)]
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    return [np.array(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], dtype=np.int64)]


def _fold_sparse(node: NodeProto, graph: OnnxGraph) -> list[Weight] | None:
    """Fold the nodes that move the elements of a sparse constant without making it dense."""
    weight = graph.constants[node.input[0]]
    if not isinstance(weight, Coo):
        return None
    if node.op_type == "Identity":
        return [weight]
    if node.op_type == "Transpose":
        perm = next((tuple(a.ints) for a in node.attribute if a.name == "perm"), None)
        return [weight.transpose(perm)]
    if node.op_type in ("Reshape", "Squeeze", "Unsqueeze", "Flatten"):
        # The same node on an array of positions says what the new shape is, without the elements.
        hollow = np.broadcast_to(np.zeros((), np.int8), weight.shape)
        shape = _run(graph, node, {node.input[0]: hollow})[0].shape
        return [weight.reshape(tuple(shape))]
    if node.op_type == "Cast":
        to = next(a.i for a in node.attribute if a.name == "to")
        return [weight.astype(helper.tensor_dtype_to_np_dtype(to))]
    return None


def evaluate(graph: OnnxGraph, node: NodeProto) -> list[Weight] | None:
    """Compute a node whose operands are all constant; None when the reference evaluator cannot."""
    try:
        results = _run(graph, node, {})
    except Exception:  # the evaluator raises anything; the node then stays as it is
        return None
    if not all(isinstance(result, (np.ndarray, np.generic)) for result in results):
        return None
    arrays = [np.asarray(result) for result in results]
    return None if any(array.dtype.kind in "OUS" for array in arrays) else [*arrays]


def _run(graph: OnnxGraph, node: NodeProto, instead: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
    names = list(dict.fromkeys(name for name in node.input if name))
    feeds = {name: instead.get(name, graph.constants[name]) for name in names}
    single = helper.make_graph(
        [node],
        "fold",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for name, v in feeds.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in node.output if name],
    )
    model = helper.make_model(single, opset_imports=graph.model.opset_import)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        results = list(ReferenceEvaluator(model).run(None, feeds))
    if any(not name for name in node.output):
        found = iter(results)
        return [next(found) if name else np.zeros(0) for name in node.output]
    return results


def _constant_if(graph: OnnxGraph, node: NodeProto) -> list[NodeProto] | None:
    """The nodes of the branch that an `If` with a constant condition takes, with the results that the `If` has."""
    if node.op_type != "If" or node.input[0] not in graph.constants:
        return None
    taken = "then_branch" if bool(np.asarray(graph.constants[node.input[0]]).reshape(-1)[0]) else "else_branch"
    branch = next(attribute.g for attribute in node.attribute if attribute.name == taken)
    return inline_subgraph(graph, branch, {}, list(node.output), node.name)
