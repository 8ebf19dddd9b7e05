"""ONNX models into the torch dialect."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.checker
from onnx import NodeProto, TypeProto, helper, numpy_helper
from torch_mlir import ir
from torch_mlir.extras import onnx_importer

from sparsec.errors import ModelError
from sparsec.frontends.contract import (
    CONTRACT_OPTIONS,
    Complaint,
    lift_literals,
    main_function,
    require_static,
    run_pipeline,
    tensor_spec,
)
from sparsec.frontends.given_weights import given_weights
from sparsec.frontends.imported import Imported
from sparsec.frontends.onnx_axes import require_axes
from sparsec.frontends.onnx_fold import infer_and_fold
from sparsec.frontends.onnx_graph import OnnxGraph, is_small, take_constants
from sparsec.frontends.onnx_inputs import fix_input_shapes
from sparsec.frontends.onnx_modernise import modernise
from sparsec.frontends.onnx_read import read_model
from sparsec.frontends.onnx_refusal import signature, unsupported
from sparsec.frontends.onnx_rewrite import expand, rewrite
from sparsec.frontends.onnx_shapes import is_beyond_memory, static_shape
from sparsec.ir.weights import WeightStore, dense_attribute, weight_op, weight_types

SUPPORTED_ELEMENTS = frozenset(
    [
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
        onnx.TensorProto.BOOL,
        onnx.TensorProto.INT8,
        onnx.TensorProto.INT16,
        onnx.TensorProto.INT32,
        onnx.TensorProto.INT64,
        onnx.TensorProto.UINT8,
        onnx.TensorProto.UINT32,
    ]
)

RANDOM = frozenset(
    ["Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"]
)
"""Dropout that is left after rewriting is in training mode."""

DATA_SHAPED = frozenset(["NonMaxSuppression", "NonZero", "Unique"])
"""How much they find is only known while the network runs (of constants it was found before); upstream ends the process on some."""

LARGEST_NUMBER = 1 << 31
"""Integer attributes beyond this are damage; torch-mlir would allocate by some of them."""

WORDS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("Resize", "mode"): ("nearest", "linear", "cubic"),
    ("Upsample", "mode"): ("nearest", "linear"),
    ("Pad", "mode"): ("constant", "reflect", "edge", "wrap"),
    ("GridSample", "mode"): ("linear", "nearest", "cubic", "bilinear", "bicubic"),
    ("DepthToSpace", "mode"): ("DCR", "CRD"),
}
"""What these attributes may say; torch-mlir ends the process on another word."""

PIPELINE = f"func.func(convert-torch-onnx-to-torch),torch-lower-to-backend-contract{CONTRACT_OPTIONS}"


def import_onnx(
    source: str | Path | bytes | onnx.ModelProto,
    *,
    context: ir.Context,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    weights: Mapping[str, object] | None = None,
) -> Imported:
    """Import a model from a path (`.onnx`, `.onnx.gz`), bytes, or a `ModelProto`, which is not changed.

    `shapes` fixes inputs that have unknown dimensions (an unknown first one is 1 unless given); `weights` come instead of
    constants of the same names. Raises `ModelError` when the model cannot be read or its shapes stay unknown,
    `UsageError` when a weight does not fit, `UnsupportedOpError`, which names the node, when an operator cannot be
    expressed.
    """
    try:
        graph, types = prepare(source, shapes, weights)
        module, store, types = import_and_lower(graph, types, context)
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
        raise_if_malformed(source, error)
        raise
    replace_weight_arguments(module, store, len(graph.graph.input))
    lift_literals(module, store)
    require_static(module, lambda place, reason: unsupported(graph, types, place, reason))
    return _imported(module, graph, store, types)


def raise_if_malformed(source: str | Path | bytes | onnx.ModelProto, error: Exception) -> None:
    """Blame a model that breaks ONNX's own rules for an unforeseen error; returns when it keeps them: a bug of ours."""
    read = read_model(source)
    if isinstance(error, UnicodeDecodeError) or any(isinstance(n.op_type, bytes) for n in read.model.graph.node):
        raise ModelError("The model is damaged: one of its names is not UTF-8", where=read.name) from error
    try:
        onnx.checker.check_model(read.model)
    except (onnx.checker.ValidationError, ValueError, TypeError, RuntimeError) as found:
        raise ModelError(f"The model breaks the rules of ONNX: {found}", where=read.name) from error


def prepare(
    source: str | Path | bytes | onnx.ModelProto,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    weights: Mapping[str, object] | None = None,
) -> tuple[OnnxGraph, Mapping[str, TypeProto]]:
    """Everything that happens to the model as ONNX: read, modernise, fix shapes, fold, rewrite.

    With the type of each value.
    """
    graph = take_constants(read_model(source))
    known = {name: (constant.shape, constant.dtype) for name, constant in graph.constants.items()}
    graph.constants |= given_weights(weights or {}, known, graph.name)
    modernise(graph)
    name_nodes(graph)
    fix_input_shapes(graph, shapes)
    types = infer_and_fold(graph)
    require_axes(graph, types)
    if rewrite(graph, types):
        types = infer_and_fold(graph)
    return graph, types


def name_nodes(graph: OnnxGraph) -> None:
    """Give every node of the main graph a name of its own, by which errors and locations call it."""
    taken: set[str] = set()
    for index, node in enumerate(graph.graph.node):
        name = node.name or f"{node.op_type}_{index}"
        if name in taken:
            name = f"{name}.{index}"
        taken.add(name)
        node.name = name


def build_module(
    graph: OnnxGraph, types: Mapping[str, TypeProto], context: ir.Context
) -> tuple[ir.Module, WeightStore]:
    """Run torch-mlir's importer.

    Large constants are arguments of `@main` behind those of the model, in the store's order.
    """
    model = graph.to_model()
    model.graph.name = "main"
    declared = {value.name for value in [*model.graph.input, *model.graph.output]}
    del model.graph.value_info[:]  # what the model states may say less than what was inferred
    for name, type_ in types.items():
        if name not in declared and name not in graph.constants:
            model.graph.value_info.append(onnx.ValueInfoProto(name=name, type=type_))
    for output in model.graph.output:
        constant = graph.constants.get(output.name)
        if constant is not None:
            element = helper.np_dtype_to_tensor_dtype(constant.dtype)
            output.type.CopyFrom(helper.make_tensor_type_proto(element, constant.shape))
        elif output.name in types:
            output.type.CopyFrom(types[output.name])
    weights = WeightStore({name: value for name, value in graph.constants.items() if not is_small(value)})
    info = onnx_importer.ModelInfo(model)
    module = info.create_module(context=context)
    cache = _ReadableConstants(context)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # results that nothing reads may have no type
            onnx_importer.NodeImporter.define_function(info.main_graph, module.operation, cache).import_all()
    except (onnx_importer.OnnxImportError, ir.MLIRError) as error:
        raise ModelError(f"The graph cannot be imported: {error}", where=graph.name) from error
    return module, weights


class _ReadableConstants(onnx_importer.ContextCache):  # type: ignore[misc]
    """Makes small constants attributes whose values folders and Python can read, where the importer would make
    resources.
    """

    def type_proto_to_type(self, tp: onnx.TypeProto) -> ir.Type:
        # The importer takes a tensor of unknown rank for a scalar.
        if tp and tp.WhichOneof("value") == "tensor_type" and not tp.tensor_type.HasField("shape"):
            return ir.Type.parse(f"!torch.vtensor<*,{self.tensor_element_type(tp.tensor_type.elem_type)}>", self._c)
        return super().type_proto_to_type(tp)

    def tensor_proto_to_attr(self, tp: onnx.TensorProto) -> ir.Attribute:
        return dense_attribute(np.asarray(numpy_helper.to_array(tp)), self._c)


def import_and_lower(
    graph: OnnxGraph, types: Mapping[str, TypeProto], context: ir.Context
) -> tuple[ir.Module, WeightStore, Mapping[str, TypeProto]]:
    """ONNX -> torch backend contract.

    An operator that is refused, and that ONNX defines by others, is expanded and tried again.
    """
    while True:
        require_compilable(graph, types)
        module, weights = build_module(graph, types, context)
        complaints = run_pipeline(module, PIPELINE)
        if not complaints:
            return module, weights, types
        first = next((c for c in complaints if c.place), complaints[0])
        error = unsupported(graph, types, first.place, _reason(first))
        node = next((n for n in graph.graph.node if n.name == first.place), None)
        if node is None or node.domain not in ("", "ai.onnx") or not expand(graph, node.op_type):
            raise error
        types = infer_and_fold(graph)
        if rewrite(graph, types):
            types = infer_and_fold(graph)


def require_compilable(graph: OnnxGraph, types: Mapping[str, TypeProto]) -> None:
    """Refuse random numbers, tensors beyond all memory, and what torch-mlir ends the process on: types that it lacks, say."""
    used = graph.used_names() - {""}
    for node in graph.graph.node:
        axes = node.input[1] if node.op_type.startswith("Reduce") and len(node.input) > 1 else ""
        if axes and axes not in graph.constants:
            raise unsupported(graph, types, node.name, f"its axes {axes!r} are not known when compiling")
        for attribute in node.attribute:
            allowed = WORDS.get((node.op_type, attribute.name))
            if allowed and attribute.s.decode(errors="replace") not in allowed:
                raise unsupported(graph, types, node.name, f"{attribute.name} = {attribute.s!r} is not a known word")
            numbers = [attribute.i, *attribute.ints]
            if (
                attribute.name == "axis"
                and node.input
                and (shape := static_shape(types.get(node.input[0]))) is not None
            ):
                numbers = [attribute.i] if abs(attribute.i) <= len(shape) + 1 else [LARGEST_NUMBER + 1]
            if max(map(abs, numbers)) > LARGEST_NUMBER and attribute.name != "seed":
                raise unsupported(graph, types, node.name, f"{attribute.name} is out of range")
        for name in [*node.input, *node.output]:
            if name in used and name not in types and name not in graph.constants:
                raise unsupported(graph, types, node.name, f"the type of {name!r} cannot be inferred")
        if node.op_type in RANDOM:
            raise unsupported(graph, types, node.name, "its result is random, so it cannot be verified")
        if node.op_type in DATA_SHAPED:
            raise unsupported(graph, types, node.name, "the shape of its result depends on the data")
        for name in [*node.input, *node.output]:
            if is_beyond_memory(types.get(name)):
                raise unsupported(graph, types, node.name, f"no memory holds {name!r}")
            element = _element(name, graph, types)
            if element is not None and element not in SUPPORTED_ELEMENTS:
                known = onnx.TensorProto.DataType.values()
                spelled = onnx.TensorProto.DataType.Name(element).lower() if element in known else f"number {element}"
                raise unsupported(graph, types, node.name, f"the element type {spelled} of {name!r} is not supported")


def _element(name: str, graph: OnnxGraph, types: Mapping[str, TypeProto]) -> int | None:
    """The element type of a tensor; None of other values, and of unknown ones."""
    if name in graph.constants:
        return int(helper.np_dtype_to_tensor_dtype(graph.constants[name].dtype))
    tensor = name in types and types[name].WhichOneof("value") == "tensor_type"
    return int(types[name].tensor_type.elem_type) if tensor else None


def _reason(complaint: Complaint) -> str:
    return " | ".join([complaint.message, *complaint.notes])[:600]


def replace_weight_arguments(module: ir.Module, weights: WeightStore, first: int) -> None:
    """Turn the arguments of `@main` from number `first` on into `sparsec.weight` ops.

    Unused ones leave the store, too.
    """
    function = main_function(module)
    block = function.regions[0].blocks[0]
    ip = ir.InsertionPoint.at_block_begin(block)
    for offset, (name, weight) in enumerate(list(weights.items())):
        argument = block.arguments[first + offset]
        if not any(True for _ in argument.uses):
            del weights[name]
            continue
        tensor, vtensor = weight_types(weight, module.context)
        with module.context:
            loc = ir.Location.name(name)
        argument.replace_all_uses_with(weight_op(name, tensor, vtensor, loc=loc, ip=ip))
    for number in reversed(range(first, len(block.arguments))):
        block.erase_argument(number)
    inputs = [argument.type for argument in block.arguments]
    results = ir.FunctionType(ir.TypeAttr(function.attributes["function_type"]).value).results
    type_ = ir.FunctionType.get(inputs, results, context=module.context)
    function.attributes["function_type"] = ir.TypeAttr.get(type_, context=module.context)


def _imported(module: ir.Module, graph: OnnxGraph, weights: WeightStore, types: Mapping[str, TypeProto]) -> Imported:
    type_ = ir.FunctionType(ir.TypeAttr(main_function(module).attributes["function_type"]).value)
    inputs = tuple(tensor_spec(v.name, t) for v, t in zip(graph.graph.input, type_.inputs, strict=True))
    outputs = tuple(tensor_spec(v.name, t) for v, t in zip(graph.graph.output, type_.results, strict=True))
    origins = {node.name: _origin(node, graph, types) for node in graph.graph.node}
    return Imported(module, weights, inputs, outputs, graph.name, origins)


def _origin(node: NodeProto, graph: OnnxGraph, types: Mapping[str, TypeProto]) -> str:
    return f"{node.domain or 'ai.onnx'} {node.op_type}, opset {graph.opset}: {signature(node, graph, types)}"
