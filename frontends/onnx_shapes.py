"""Making every shape of an ONNX graph static: fix the inputs, then fold constants until nothing changes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, TypeProto, helper
from onnx.reference import ReferenceEvaluator

from sparsec.errors import ModelError, UnsupportedOpError
from sparsec.formats.coo import Coo
from sparsec.frontends.onnx_graph import OnnxGraph, is_small, subgraphs
from sparsec.ir.weights import Weight

FOLD_ELEMENTS = 1 << 16
"""A node of any kind is folded when neither an operand nor a result has more elements than this."""

FOLD_CHEAP_ELEMENTS = 1 << 28
"""The same limit for the kinds that only move or convert elements: no weight is larger that is transposed to become a layer's."""

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
    if not all_known:
        _forget_shapes(graph)
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


def infer_and_fold(graph: OnnxGraph) -> dict[str, TypeProto]:
    """Infer shapes and fold constant nodes in turns until neither changes anything; returns the type of each value."""
    while True:
        types = infer_types(graph)
        if not _fold_once(graph, types):
            return types
        graph.prune()


def _forget_shapes(graph: OnnxGraph) -> None:
    """Drop stated intermediate shapes: they may contradict the shapes that the user gave."""
    del graph.graph.value_info[:]
    for output in graph.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")


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
        # Large results stay as the node: it is a splat, which costs nothing inside the module.
        limit = LIFT_SPLATS
        sizes += [int(np.prod(np.asarray(operand))) for operand in operands]
    if max(sizes, default=0) > limit:
        return None
    return evaluate(graph, node)


LIFT_SPLATS = 64


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


def inline_subgraph(
    graph: OnnxGraph, body: onnx.GraphProto, arguments: Mapping[str, str], results: list[str], prefix: str
) -> list[NodeProto]:
    """The nodes of `body` with its inputs replaced by `arguments`, its outputs named `results`, and all other values
    renamed.
    """
    from sparsec.frontends.onnx_graph import read_tensor

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


__all__ = [
    "evaluate",
    "fix_input_shapes",
    "infer_and_fold",
    "infer_types",
    "inline_subgraph",
    "is_small",
    "static_shape",
]
