"""Operators that ONNX Runtime's optimisers put in the place of several of ONNX, as those again.

What each computes: onnxruntime/docs/ContribOperators.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from onnx import TensorProto

from sparsec.frontends.onnx_expansion import Expansion


def _gelu(e: Expansion) -> bool:
    """Of x, and a bias: x (1 + erf(x / sqrt 2)) / 2"""
    x = _biased(e)
    error = e.emit("Erf", [e.emit("Div", [x, e.number(math.sqrt(2))])])
    return _half_gate(e, x, error)


def _fast_gelu(e: Expansion) -> bool:
    """The same with tanh(sqrt(2 / pi) (x + 0.044715 x^3)) for the error function."""
    x = _biased(e)
    cube = e.emit("Mul", [e.emit("Mul", [x, x]), e.emit("Mul", [x, e.number(0.044715)])])
    inner = e.emit("Mul", [e.emit("Add", [x, cube]), e.number(math.sqrt(2 / math.pi))])
    return _half_gate(e, x, e.emit("Tanh", [inner]))


def _biased(e: Expansion) -> str:
    return e.emit("Add", [e.input(0), e.input(1)]) if e.input(1) else e.input(0)


def _half_gate(e: Expansion, x: str, gate: str) -> bool:
    half = e.emit("Mul", [x, e.number(0.5)])
    e.emit("Mul", [half, e.emit("Add", [gate, e.number(1.0)])], e.output)
    return True


def _quick_gelu(e: Expansion) -> bool:
    scaled = e.emit("Mul", [e.input(0), e.number(e.real_attribute("alpha", 1.702))])
    e.emit("Mul", [e.input(0), e.emit("Sigmoid", [scaled])], e.output)
    return True


def _skip_layer_normalization(e: Expansion) -> bool:
    """x, skip, gamma, beta, bias; the last result is the sum that is normalised."""
    total = _skipped(e, e.input(4))
    return total is not None and _layer_norm(e, total, e.input(2), e.input(3), e.real_attribute("epsilon", 1e-12))


def _skip_rms_normalization(e: Expansion) -> bool:
    """x, skip, gamma, bias; results as above."""
    total = _skipped(e, e.input(3))
    return total is not None and _rms_norm(e, total, e.input(2), e.real_attribute("epsilon", 1e-12))


def _skipped(e: Expansion, bias: str) -> str | None:
    """The sum of x, skip and bias; None if the statistics are asked for, too."""
    results = [*e.node.output, "", "", ""]
    if results[1] or results[2]:
        return None
    total = e.emit("Add", [e.input(0), e.input(1)], "" if bias else results[3])
    return e.emit("Add", [total, bias], results[3]) if bias else total


def _layer_normalization(e: Expansion) -> bool:
    """ONNX Runtime has it in operator sets that do not."""
    if e.graph.opset >= 17 or e.attribute("axis", -1) != -1 or any(e.node.output[1:]):
        return False
    return _layer_norm(e, e.input(0), e.input(1), e.input(2), e.real_attribute("epsilon", 1e-5))


def _rms_normalization(e: Expansion) -> bool:
    if e.attribute("axis", -1) != -1 or any(e.node.output[1:]):
        return False
    return _rms_norm(e, e.input(0), e.input(1), e.real_attribute("epsilon", 1e-5))


def _layer_norm(e: Expansion, x: str, scale: str, bias: str, epsilon: float) -> bool:
    if e.graph.opset >= 17:
        operands = [x, scale, bias] if bias else [x, scale]
        e.emit("LayerNormalization", operands, e.output, {"axis": -1, "epsilon": epsilon})
        return True
    centred = e.emit("Sub", [x, e.mean(x)])
    normal = e.emit("Div", [centred, _root_mean_square(e, centred, epsilon)])
    scaled = e.emit("Mul", [normal, scale], "" if bias else e.output)
    if bias:
        e.emit("Add", [scaled, bias], e.output)
    return True


def _rms_norm(e: Expansion, x: str, scale: str, epsilon: float) -> bool:
    e.emit("Mul", [e.emit("Div", [x, _root_mean_square(e, x, epsilon)]), scale], e.output)
    return True


def _root_mean_square(e: Expansion, x: str, epsilon: float) -> str:
    return e.emit("Sqrt", [e.emit("Add", [e.mean(e.emit("Mul", [x, x])), e.number(epsilon)])])


def _embed_layer_normalization(e: Expansion) -> bool:
    return embed_layer_normalization(e, [e.input(index) for index in range(9)])


def embed_layer_normalization(e: Expansion, operands: Sequence[str]) -> bool:
    """Tokens, segments, three tables of embeddings, gamma, beta, mask, places ("" are absent); results are the normalised
    sum, the lengths that the mask says, and the sum.
    """
    tokens, segments, of_tokens, of_places, of_segments, gamma, beta, mask, places = operands
    results = [*e.node.output, "", ""]
    used = e.graph.used_names()
    if results[1] in used and not mask:
        return False
    places = places or e.counted(tokens)
    total = e.emit("Add", [e.emit("Gather", [of_tokens, tokens]), e.emit("Gather", [of_places, places])])
    if segments and of_segments:
        total = e.emit("Add", [total, e.emit("Gather", [of_segments, segments])])
    if results[2]:
        e.emit("Identity", [total], results[2])
    if results[1] in used:
        wide = e.emit("Cast", [mask], attributes={"to": TensorProto.FLOAT})
        e.emit("Cast", [e.last_sum(wide)], results[1], {"to": TensorProto.INT32})
    return _layer_norm(e, total, gamma, beta, e.real_attribute("epsilon", 1e-12))


def _fused_matmul(e: Expansion) -> bool:
    """alpha A B, of which each may be transposed."""
    if e.attribute("transBatchA", 0) or e.attribute("transBatchB", 0):
        return False
    turned = [bool(e.attribute(name, 0)) for name in ("transA", "transB")]
    operands = [e.input(0), e.input(1)]
    for index, operand in enumerate(operands):
        rank = e.inferred_rank(operand) if turned[index] else None
        if rank:
            perm = [*range(rank - 2), rank - 1, rank - 2]
            operands[index] = e.emit("Transpose", [operand], attributes={"perm": perm})
            turned[index] = False
    alpha = e.real_attribute("alpha", 1.0)
    to = e.output if alpha == 1 else ""
    if any(turned) and e.graph.opset < 12:
        return False
    if any(turned):  # of stacks whose number of axes is not known yet
        left, right = "...ji" if turned[0] else "...ij", "...kj" if turned[1] else "...jk"
        product = e.emit("Einsum", operands, to, {"equation": f"{left},{right}->...ik"})
    else:
        product = e.emit("MatMul", operands, to)
    if alpha != 1:
        e.emit("Mul", [product, e.number(alpha)], e.output)
    return True


def _fused_gemm(e: Expansion) -> bool:
    product = e.emit("Gemm", e.node.input, attributes=e.kept("alpha", "beta", "transA", "transB"))
    known = [e.real_attribute(f"activation_{name}", math.nan) for name in ("alpha", "beta", "gamma")]
    return _activated(e, product, [value for value in known if not math.isnan(value)])


def _fused_convolution(e: Expansion) -> bool:
    """x, weight, bias, and what is added before the activation."""
    names = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    value = e.emit("Conv", [name for name in e.node.input[:3] if name], attributes=e.kept(*names))
    if e.input(3):
        value = e.emit("Add", [value, e.input(3)])
    parameters = e.attribute("activation_params", [])
    return _activated(e, value, [float(each) for each in parameters])  # type: ignore[attr-defined]


_ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
    "LeakyRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
}
"""The names of their parameters, in order."""


def _activated(e: Expansion, value: str, parameters: list[float]) -> bool:
    word = e.attribute("activation", b"")
    name = word.decode() if isinstance(word, bytes) else str(word)
    if name == "Clip" and len(parameters) == 2:
        e.emit("Clip", [value, *map(e.number, parameters)], e.output)
        return e.graph.opset >= 11
    if name not in _ACTIVATIONS or len(parameters) > len(_ACTIVATIONS[name]):
        return False
    e.emit(name, [value], e.output, dict(zip(_ACTIVATIONS[name], parameters, strict=False)))
    return True


def _attention(e: Expansion) -> bool:
    """x, [inputs, 3 outputs] for query, key and value, bias, mask."""
    if any(e.node.input[4:]):
        return False
    product = e.emit("MatMul", [e.input(0), e.input(1)])
    product = e.emit("Add", [product, e.input(2)]) if e.input(2) else product
    return attention_of(e, product, e.input(1), e.input(3))


def attention_of(e: Expansion, product: str, weight: str, mask: str) -> bool:
    """Attention of the heads of queries, keys and values that lie beside each other, as products with `weight`."""
    known = e.graph.constants.get(weight)
    rotates = e.attribute("do_rotary", 0) or e.attribute("unidirectional", 0) or e.attribute("qkv_hidden_sizes", None)
    if known is None or rotates or any(e.node.output[1:]):
        return False
    width = known.shape[1] // 3
    return _heads(e, _thirds(e, product, width), width, mask)


def _multi_head_attention(e: Expansion) -> bool:
    """Query, key and value of three axes, a bias for the three, and a mask of keys."""
    bias = e.graph.constants.get(e.input(3))
    if not e.input(2) or any(e.node.input[5:]) or any(e.node.output[1:]) or e.attribute("unidirectional", 0):
        return False
    operands = list(e.node.input[:3])
    if e.input(3):
        if bias is None:
            return False
        width = bias.shape[0] // 3
        parts = _thirds(e, e.input(3), width)
        operands = [e.emit("Add", list(pair)) for pair in zip(operands, parts, strict=True)]
    return _heads(e, operands, None, e.input(4))


def _thirds(e: Expansion, x: str, width: int) -> list[str]:
    """What is for query, key and value along the last axis."""
    return [e.part(x, number * width, (number + 1) * width) for number in range(3)]


def _heads(e: Expansion, operands: list[str], width: int | None, mask: str) -> bool:
    """softmax(q k^T scale + mask) v for each head; `mask` says which keys count."""
    count = e.integer("num_heads", 0)
    split = e.whole(0, 0, count, -1)
    q, k, v = (e.emit("Reshape", [each, split]) for each in operands)
    q, v = (e.emit("Transpose", [each], attributes={"perm": [0, 2, 1, 3]}) for each in (q, v))
    k = e.emit("Transpose", [k], attributes={"perm": [0, 2, 3, 1]})
    scores = e.emit("Mul", [e.emit("MatMul", [q, k]), _scale(e, q, count, width)])
    if mask:
        present = _present_keys(e, mask, operands[1])
        if not present:
            return False
        absent = e.emit("Sub", [e.number(1.0), e.emit("Cast", [present], attributes={"to": TensorProto.FLOAT})])
        filled = e.number(e.real_attribute("mask_filter_value", -10000.0))
        scores = e.emit("Add", [scores, e.emit("Mul", [absent, filled])])
    weighted = e.emit("MatMul", [e.emit("Softmax", [scores], attributes={"axis": -1}), v])
    joined = e.emit("Transpose", [weighted], attributes={"perm": [0, 2, 1, 3]})
    e.emit("Reshape", [joined, e.whole(0, 0, -1)], e.output)
    return True


def _present_keys(e: Expansion, mask: str, keys: str) -> str:
    """[batch, 1, 1, keys]: which keys count, of a mask [batch, keys] or of sums of one, which are the lengths; "" if it is
    neither.
    """
    maker = next((node.op_type for node in e.graph.graph.node if mask in node.output), "")
    rank = 1 if maker in _MAKE_LENGTHS else e.inferred_rank(mask)
    if rank == 2:
        return e.emit("Reshape", [mask, e.whole(0, 1, 1, -1)])
    if rank != 1 or maker not in (*_MAKE_LENGTHS, "ReduceSum"):
        return ""
    places = e.counted(keys)
    lengths = e.emit("Cast", [e.emit("Reshape", [mask, e.whole(0, 1, 1, 1)])], attributes={"to": TensorProto.INT64})
    return e.emit("Less", [places, lengths])


_MAKE_LENGTHS = ("EmbedLayerNormalization", "QEmbedLayerNormalization")


def _scale(e: Expansion, q: str, heads: int, width: int | None) -> str:
    """What the attributes say, or one over the root of a head's size."""
    given = e.real_attribute("scale", 0.0)
    if given:
        return e.number(given)
    if width is not None:
        return e.number(1 / math.sqrt(width / heads))
    size = e.emit("Gather", [e.emit("Shape", [q]), e.whole(-1)])
    return e.emit("Reciprocal", [e.emit("Sqrt", [e.emit("Cast", [size], attributes={"to": TensorProto.FLOAT})])])


FUSED: Mapping[str, Callable[[Expansion], bool]] = {
    "Attention": _attention,
    "BiasGelu": _gelu,
    "EmbedLayerNormalization": _embed_layer_normalization,
    "FastGelu": _fast_gelu,
    "FusedConv": _fused_convolution,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "Gelu": _gelu,
    "MultiHeadAttention": _multi_head_attention,
    "QuickGelu": _quick_gelu,
    "SimplifiedLayerNormalization": _rms_normalization,
    "SkipLayerNormalization": _skip_layer_normalization,
    "SkipSimplifiedLayerNormalization": _skip_rms_normalization,
}
"""Those of ONNX Runtime's own domain."""

UNDECLARED: Mapping[str, Callable[[Expansion], bool]] = {
    "LayerNormalization": _layer_normalization,
    "SimplifiedLayerNormalization": _rms_normalization,
}
"""Those that it has in the domain of ONNX."""
