"""Rewrites of ONNX operators that torch-mlir lowers not at all, wrongly, or slowly, into ones that it lowers well.

`REWRITES` is the table: operator -> a function of the node that returns the nodes to put in its place, or None to
leave it. It runs once shapes are known. Operators that ONNX itself defines as functions are expanded when the
lowering refuses them (`expand`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx
import onnx.inliner
from onnx import NodeProto, TypeProto, helper

from sparsec.frontends.onnx_attention import attention
from sparsec.frontends.onnx_builder import Builder
from sparsec.frontends.onnx_codes import dequantize, quantize
from sparsec.frontends.onnx_elements import (
    absolute,
    cast_like,
    clip,
    dropout,
    extremum,
    gelu,
    power,
    reciprocal,
    shift,
    sign,
    softsign,
    widen,
)
from sparsec.frontends.onnx_fourier import dft, stft
from sparsec.frontends.onnx_graph import OnnxGraph, is_small
from sparsec.frontends.onnx_grid_sample import grid_sample
from sparsec.frontends.onnx_matrices import einsum, gemm, matmul
from sparsec.frontends.onnx_moves import (
    compress,
    depth_to_space,
    expand_to,
    one_hot,
    reverse_sequence,
    scatter_elements,
    slice_within,
    space_to_depth,
)
from sparsec.frontends.onnx_norms import (
    batch_normalization,
    group_normalization,
    instance_normalization,
    layer_normalization,
    local_response_normalization,
    lp_normalization,
    rms_normalization,
)
from sparsec.frontends.onnx_pads import pad
from sparsec.frontends.onnx_quantized import (
    conv_integer,
    dynamic_quantize,
    matmul_integer,
    qlinear_conv,
    qlinear_matmul,
)
from sparsec.frontends.onnx_recurrent import recurrent
from sparsec.frontends.onnx_reductions import reduction
from sparsec.frontends.onnx_resize import resize
from sparsec.frontends.onnx_roi_align import roi_align
from sparsec.frontends.onnx_windows import average_pool, conv_transpose, explicit_pads, lp_pool, max_pool

REWRITES: Mapping[str, Callable[[Builder], list[NodeProto] | None]] = {
    "Abs": absolute,
    "Attention": attention,
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "BitShift": shift,
    "CastLike": cast_like,
    "Clip": clip,
    "Compress": compress,
    "Conv": explicit_pads,
    "ConvInteger": conv_integer,
    "ConvTranspose": conv_transpose,
    "DFT": dft,
    "DepthToSpace": depth_to_space,
    "DequantizeLinear": dequantize,
    "Div": widen,
    "Dropout": dropout,
    "DynamicQuantizeLinear": dynamic_quantize,
    "Einsum": einsum,
    "Expand": expand_to,
    "GRU": recurrent,
    "Gelu": gelu,
    "Gemm": gemm,
    "GridSample": grid_sample,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
    "LRN": local_response_normalization,
    "LSTM": recurrent,
    "LayerNormalization": layer_normalization,
    "LpNormalization": lp_normalization,
    "LpPool": lp_pool,
    "MatMul": matmul,
    "MatMulInteger": matmul_integer,
    "Max": extremum,
    "MaxPool": max_pool,
    "Min": extremum,
    "Mod": widen,
    "OneHot": one_hot,
    "Pad": pad,
    "Pow": power,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "QuantizeLinear": quantize,
    "RNN": recurrent,
    "RMSNormalization": rms_normalization,
    "Reciprocal": reciprocal,
    "ReduceL1": reduction,
    "ReduceL2": reduction,
    "ReduceLogSum": reduction,
    "ReduceLogSumExp": reduction,
    "ReduceMax": reduction,
    "ReduceMean": reduction,
    "ReduceMin": reduction,
    "ReduceProd": reduction,
    "ReduceSum": reduction,
    "ReduceSumSquare": reduction,
    "Resize": resize,
    "ReverseSequence": reverse_sequence,
    "RoiAlign": roi_align,
    "STFT": stft,
    "ScatterElements": scatter_elements,
    "Sign": sign,
    "Slice": slice_within,
    "Softsign": softsign,
    "SpaceToDepth": space_to_depth,
}

EXPANDED = (
    "MeanVarianceNormalization",
    "SoftmaxCrossEntropyLoss",
    "NegativeLogLikelihoodLoss",  # the one before expands to it
    "CenterCropPad",
    "AffineGrid",
    "RotaryEmbedding",
)
"""Functions of ONNX that are always expanded: their upstream lowering fails late, or gives shapes that are not
static.
"""


def rewrite(graph: OnnxGraph, types: Mapping[str, TypeProto]) -> bool:
    """Apply `REWRITES` and expand `EXPANDED`; returns whether anything changed."""
    changed = False
    nodes: list[NodeProto] = []
    for node in graph.graph.node:
        copy = NodeProto()
        copy.CopyFrom(node)
        apply = REWRITES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        replaced = apply(Builder(graph, copy, types)) if apply else None
        changed |= replaced is not None
        nodes.extend([node] if replaced is None else replaced)
    if changed:
        del graph.graph.node[:]
        graph.graph.node.extend(nodes)
    for op_type in EXPANDED:
        changed |= any(node.op_type == op_type for node in graph.graph.node) and expand(graph, op_type)
    return changed


def is_function(op_type: str, opset: int) -> bool:
    """Whether ONNX defines the operator by others."""
    try:
        schema = onnx.defs.get_schema(op_type, opset, "")
    except onnx.defs.SchemaError:
        return False
    # onnx's own stubs lack these two.
    names = ("has_function", "has_context_dependent_function")
    return any(bool(getattr(schema, name)) for name in names)


def expand(graph: OnnxGraph, op_type: str) -> bool:
    """Replace the nodes of an operator by its definition in ONNX; returns whether that was possible."""
    if not is_function(op_type, graph.opset):
        return False
    _state_defaults(graph, op_type)
    before = {output for node in graph.graph.node for output in node.output}
    model = graph.to_model()
    for name, value in graph.constants.items():
        if is_small(value):  # an initializer, which has no type; some definitions depend on it
            element = helper.np_dtype_to_tensor_dtype(value.dtype)
            model.graph.value_info.append(helper.make_tensor_value_info(name, element, value.shape))
    try:
        model = onnx.inliner.inline_selected_functions(model, [("", op_type)], inline_schema_functions=True)
    except (RuntimeError, ValueError, onnx.shape_inference.InferenceError):
        return False
    if any(node.op_type == op_type for node in model.graph.node):
        return False
    for node in model.graph.node:
        if not node.name or not before.issuperset(node.output):
            node.name = f"{op_type}:{node.output[0]}"
    graph.reload(model)
    return True


def _state_defaults(graph: OnnxGraph, op_type: str) -> None:
    """Give the nodes of an operator the attributes that they leave out; the inliner takes them for absent."""
    attributes = onnx.defs.get_schema(op_type, graph.opset, "").attributes
    for node in graph.graph.node:
        if node.op_type == op_type and node.domain in ("", "ai.onnx"):
            stated = {attribute.name for attribute in node.attribute}
            for name, definition in attributes.items():
                if name not in stated and definition.default_value.type != onnx.AttributeProto.UNDEFINED:
                    node.attribute.append(definition.default_value)
