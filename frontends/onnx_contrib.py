"""Quantised operators that ONNX Runtime adds to ONNX, in terms of ONNX's own: dequantise, compute, quantise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

from onnx import NodeProto, TensorProto, TypeProto, helper

from sparsec.errors import ModelError
from sparsec.frontends.onnx_expansion import Expansion
from sparsec.frontends.onnx_fused import FUSED, UNDECLARED, attention_of, embed_layer_normalization
from sparsec.frontends.onnx_graph import OnnxGraph
from sparsec.frontends.onnx_packed import PACKED
from sparsec.frontends.onnx_shapes import infer_types

DOMAIN = "com.microsoft"


def expand_contrib(graph: OnnxGraph) -> None:
    """Replace the nodes that the tables know, before shapes are known: shape inference does not know these operators."""
    tables = {DOMAIN: {**EXPANSIONS, **FUSED, **PACKED}, "": UNDECLARED, "ai.onnx": UNDECLARED}
    if not any(node.op_type in tables.get(node.domain, ()) for node in graph.graph.node):
        return
    if not any(opset.domain == DOMAIN for opset in graph.model.opset_import):  # the optimisers forget it
        graph.model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    types = cache(partial(_inferred_types, graph))
    nodes: list[NodeProto] = []
    for node in graph.graph.node:
        apply = tables.get(node.domain, {}).get(node.op_type)
        expansion = Expansion(graph, node, types)
        known = apply is not None and apply(expansion)
        nodes.extend(expansion.nodes if known else [node])
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def _inferred_types(graph: OnnxGraph) -> Mapping[str, TypeProto]:
    """What can be said already; nothing of a model that contradicts itself, which is told once shapes are fixed."""
    try:
        return infer_types(graph)
    except ModelError:
        return {}


def _binary(op: str) -> Callable[[Expansion], bool]:
    """A, its scale and zero point, B, its, those of the result."""

    def apply(e: Expansion) -> bool:
        left, right = e.real(e.input(0), e.input(1), e.input(2)), e.real(e.input(3), e.input(4), e.input(5))
        e.quantised(e.emit(op, [left, right]), e.input(6), e.input(7), e.input(0))
        return True

    return apply


def _unary(op: str, *attributes: str) -> Callable[[Expansion], bool]:
    """X, its scale and zero point, those of the result; channels of images may be last."""

    def apply(e: Expansion) -> bool:
        x = e.real(e.input(0), e.input(1), e.input(2))
        rank = (e.inferred_rank(e.input(0)) or 4) if e.attribute("channels_last", 0) else 0
        x = _moved(e, x, rank, to=1)
        y = e.emit(op, [x], attributes=e.kept(*attributes))
        e.quantised(_moved(e, y, rank, to=rank - 1), e.input(3), e.input(4), e.input(0))
        return True

    return apply


def _convolution(e: Expansion) -> bool:
    """The same operator of ONNX, but that channels may be last."""
    rank = e.inferred_rank(e.input(3)) if e.attribute("channels_last", 0) else 0
    return rank is not None and _of_images(e, "QLinearConv", rank, CONVOLUTION)


def _max_pool(e: Expansion) -> bool:
    """Of codes whose channels are last."""
    (kernel,) = e.kept("kernel_shape").values()
    return _of_images(e, "MaxPool", len(list(kernel)) + 2, MAX_POOL)  # type: ignore[call-overload]


def _of_images(e: Expansion, op: str, rank: int, attributes: Sequence[str]) -> bool:
    """An operator of ONNX on images of so many axes whose channels are last; with a rank of 0, on others."""
    x = _moved(e, e.input(0), rank, to=1)
    y = e.emit(op, [x, *e.node.input[1:]], "" if rank else e.output, e.kept(*attributes))
    _moved(e, y, rank, to=rank - 1, result=e.output)
    return True


def _moved(e: Expansion, x: str, rank: int, *, to: int, result: str = "") -> str:
    """An image with its channels moved from the end to axis 1, or from there to the end; as it is with a rank of 0."""
    if not rank:
        return x
    order = [0, rank - 1, *range(1, rank - 1)] if to == 1 else [0, *range(2, rank), 1]
    return e.emit("Transpose", [x], result, {"perm": order})


def _softmax(e: Expansion) -> bool:
    """Before operator set 13, which `opset` states, it is over all axes from `axis` on."""
    if e.integer("opset", 13) >= 13 or e.attribute("axis", -1) == -1:
        return _unary("Softmax", "axis")(e)
    x = e.real(e.input(0), e.input(1), e.input(2))
    flat = e.emit("Softmax", [e.emit("Flatten", [x], attributes=e.kept("axis"))], attributes={"axis": 1})
    e.quantised(e.emit("Reshape", [flat, e.emit("Shape", [x])]), e.input(3), e.input(4), e.input(0))
    return True


def _concat(e: Expansion) -> bool:
    """The scale and zero point of the result, then each operand with its own."""
    triples = range(2, len(e.node.input), 3)
    values = [e.real(e.input(i), e.input(i + 1), e.input(i + 2)) for i in triples]
    e.quantised(e.emit("Concat", values, attributes=e.kept("axis")), e.input(0), e.input(1), e.input(2))
    return True


def _where(e: Expansion) -> bool:
    x, y = e.real(e.input(1), e.input(2), e.input(3)), e.real(e.input(4), e.input(5), e.input(6))
    e.quantised(e.emit("Where", [e.input(0), x, y]), e.input(7), e.input(8), e.input(1))
    return True


def _gemm(e: Expansion) -> bool:
    """The third operand is int32 in the scale of the products; without a scale of the result, that is float32."""
    transposed = int(bool(e.attribute("transB", 0)))
    a = e.real(e.input(0), e.input(1), e.input(2))
    b = e.real(e.input(3), e.input(4), e.input(5), axis=0 if transposed else 1)
    operands = [a, b]
    if e.input(6):
        scale = e.emit("Mul", [e.input(1), e.input(4)])
        factor = e.real_attribute("alpha", 1.0)
        if factor != 1.0:
            scale = e.emit("Mul", [scale, e.number(factor)])
        whole = e.emit("Cast", [e.input(6)], attributes={"to": TensorProto.FLOAT})
        operands.append(e.emit("Mul", [whole, scale]))
    kept = e.kept("alpha", "transA", "transB")
    product = e.emit("Gemm", operands, "" if e.input(7) else e.output, kept)
    if e.input(7):
        e.quantised(product, e.input(7), e.input(8), e.input(0))
    return True


def _dynamic_matmul(e: Expansion) -> bool:
    """A in float32, B, its scale and zero point, bias."""
    name = f"{e.output}/quantised"
    codes, scale, zero = f"{name}.codes", f"{name}.scale", f"{name}.zero"
    e.nodes.append(helper.make_node("DynamicQuantizeLinear", [e.input(0)], [codes, scale, zero], name=name))
    _scaled_product(e, (codes, e.input(1), zero, e.input(3)), (scale, e.input(2)), e.input(4), e.output)
    return True


def _matmul_to_float(e: Expansion) -> bool:
    """A, B, their scales, their zero points, bias."""
    operands = (e.input(0), e.input(1), e.input(4), e.input(5))
    _scaled_product(e, operands, (e.input(2), e.input(3)), e.input(6), e.output)
    return True


def _scaled_product(e: Expansion, operands: Sequence[str], scales: Sequence[str], bias: str, to: str) -> None:
    total = e.emit("Cast", [e.emit("MatMulInteger", operands)], attributes={"to": TensorProto.FLOAT})
    scaled = e.emit("Mul", [total, e.emit("Mul", scales)], "" if bias else to)
    if bias:
        e.emit("Add", [scaled, bias], to)


def _attention(e: Expansion) -> bool:
    """x, [inputs, 3 outputs] for query, key and value, bias, their scales, mask, their zero points."""
    if any(e.node.input[8:]):
        return False
    product = f"{e.output}/product"
    operands = (e.input(0), e.input(1), e.input(6), e.input(7))
    _scaled_product(e, operands, (e.input(3), e.input(4)), e.input(2), product)
    return attention_of(e, product, e.input(1), e.input(5))


def _embed_layer_normalization(e: Expansion) -> bool:
    """Tokens, segments, five quantised constants (three tables, gamma, beta), mask, then scales and zero points of the five."""
    reals = [e.real(e.input(i), e.input(6 + i), e.input(11 + i)) if e.input(i) else "" for i in range(2, 7)]
    return embed_layer_normalization(e, [e.input(0), e.input(1), *reals, e.input(7), ""])


def _own(e: Expansion) -> bool:
    """The same operator of ONNX, which has the types in its later operator sets."""
    e.emit(e.node.op_type, e.node.input, e.output, e.kept("axis", "block_size"))
    return e.graph.opset >= 10


POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")
MAX_POOL = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
CONVOLUTION = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")

EXPANSIONS: Mapping[str, Callable[[Expansion], bool]] = {
    "DequantizeLinear": _own,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "MatMulIntegerToFloat": _matmul_to_float,
    "NhwcMaxPool": _max_pool,
    "QAttention": _attention,
    "QEmbedLayerNormalization": _embed_layer_normalization,
    "QGemm": _gemm,
    "QLinearAdd": _binary("Add"),
    "QLinearAveragePool": _unary("AveragePool", *POOL),
    "QLinearConcat": _concat,
    "QLinearConv": _convolution,
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    "QLinearLeakyRelu": _unary("LeakyRelu", "alpha"),
    "QLinearMul": _binary("Mul"),
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearSoftmax": _softmax,
    "QLinearWhere": _where,
    "QuantizeLinear": _own,
}
