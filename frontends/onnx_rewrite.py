"""Rewrites of ONNX operators that torch-mlir lowers not at all, wrongly, or slowly, into ones that it lowers well.

`REWRITES` is the table: operator -> a function of the node that returns the nodes to put in its place, or None to
leave it. It runs once shapes are known. Operators that ONNX itself defines as functions are expanded when the
lowering refuses them (`expand`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx.inliner
from onnx import NodeProto, TensorProto, TypeProto, helper

from sparsec.frontends.onnx_graph import OnnxGraph
from sparsec.frontends.onnx_shapes import static_shape


@dataclass(slots=True)
class Builder:
    """Collects the nodes that replace one node; new values and constants are named after it."""

    graph: OnnxGraph
    node: NodeProto
    types: Mapping[str, TypeProto]
    nodes: list[NodeProto] = field(default_factory=list)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The static shape of a value."""
        if name in self.graph.constants:
            return self.graph.constants[name].shape
        return static_shape(self.types.get(name))

    def element(self, name: str) -> int:
        """The `TensorProto` element type of a value, 0 when unknown."""
        if name in self.graph.constants:
            return int(helper.np_dtype_to_tensor_dtype(self.graph.constants[name].dtype))
        return int(self.types[name].tensor_type.elem_type) if name in self.types else 0

    def attribute(self, name: str, default: object = None) -> object:
        """An attribute of the node, or `default`."""
        found = next((a for a in self.node.attribute if a.name == name), None)
        return default if found is None else helper.get_attribute_value(found)

    def ints(self, name: str, default: list[int]) -> list[int]:
        """An integer-list attribute of the node, or `default`."""
        found = next((a for a in self.node.attribute if a.name == name), None)
        return default if found is None else [int(i) for i in found.ints]

    def input(self, index: int) -> str:
        """The name of an operand, "" when it is absent."""
        return self.node.input[index] if index < len(self.node.input) else ""

    def constant(self, stem: str, value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
        """A new constant; returns its name."""
        name = f"{self.node.name}/{stem}"
        self.graph.constants[name] = value
        return name

    def emit(self, op: str, *inputs: str, to: str | None = None, attributes: Mapping[str, object] | None = None) -> str:
        """Append a node of one result, named `to` or afresh; returns the result's name."""
        name = f"{self.node.name}/{op}.{len(self.nodes)}"
        result = to or name
        node = helper.make_node(op, list(inputs), [result], name=name)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in (attributes or {}).items())
        self.nodes.append(node)
        return result

    def reduce(self, op: str, x: str, axes: list[int]) -> str:
        """A reduction over `axes` that keeps them, in the form that the model's operator set has."""
        moved_in = 13 if op == "ReduceSum" else 18
        if self.graph.opset >= moved_in:
            return self.emit(op, x, self.constant(f"{op}.axes", np.array(axes, np.int64)), attributes={"keepdims": 1})
        return self.emit(op, x, attributes={"axes": axes, "keepdims": 1})


def layer_normalization(b: Builder) -> list[NodeProto] | None:
    """Two passes in float32; the upstream decomposition computes the variance in float64."""
    shape = b.shape(b.input(0))
    element = b.element(b.input(0))
    if shape is None or element != TensorProto.FLOAT:
        return None
    first = int(str(b.attribute("axis", -1))) % len(shape)
    x = b.input(0)
    return _normalise(b, x, list(range(first, len(shape))))


def _normalise(b: Builder, x: str, axes: list[int]) -> list[NodeProto]:
    outputs = [*b.node.output, "", ""]
    epsilon = b.constant("epsilon", np.array(b.attribute("epsilon", 1e-5), np.float32))
    mean = b.reduce("ReduceMean", x, axes)
    centred = b.emit("Sub", x, mean)
    variance = b.reduce("ReduceMean", b.emit("Mul", centred, centred), axes)
    deviation = b.emit("Sqrt", b.emit("Add", variance, epsilon))
    inverse = b.emit("Div", b.constant("one", np.array(1, np.float32)), deviation)
    normal = b.emit("Mul", centred, inverse)
    bias = b.input(2)
    scaled = b.emit("Mul", normal, b.input(1), to=None if bias else outputs[0])
    if bias:
        b.emit("Add", scaled, bias, to=outputs[0])
    if outputs[1]:
        b.emit("Identity", mean, to=outputs[1])
    if outputs[2]:
        b.emit("Identity", inverse, to=outputs[2])
    return b.nodes


def instance_normalization(b: Builder) -> list[NodeProto] | None:
    """As layer normalisation, over the spatial axes, with one scale and bias per channel."""
    shape = b.shape(b.input(0))
    if shape is None or len(shape) < 3 or b.element(b.input(0)) != TensorProto.FLOAT:
        return None
    per_channel = b.constant("per_channel", np.array([shape[1], *([1] * (len(shape) - 2))], np.int64))
    scale, bias = (b.emit("Reshape", b.input(i), per_channel) for i in (1, 2))
    del b.node.input[1:]
    b.node.input.extend([scale, bias])
    return _normalise(b, b.input(0), list(range(2, len(shape))))


def batch_normalization(b: Builder) -> list[NodeProto] | None:
    """Inference: `x * a + c` per channel; `a` and `c` fold to constants, as a rule."""
    shape = b.shape(b.input(0))
    if shape is None or len(shape) < 2 or b.attribute("training_mode", 0) or any(b.node.output[1:]):
        return None
    element = b.element(b.input(0))
    dtype = helper.tensor_dtype_to_np_dtype(element)
    epsilon = b.constant("epsilon", np.array(b.attribute("epsilon", 1e-5), dtype))
    per_channel = b.constant("per_channel", np.array([shape[1], *([1] * (len(shape) - 2))], np.int64))
    scale, bias, mean, variance = (
        b.input(i)
        if b.element(b.input(i)) == element
        else b.emit("Cast", b.input(i), to=None, attributes={"to": element})
        for i in range(1, 5)
    )
    a = b.emit("Div", scale, b.emit("Sqrt", b.emit("Add", variance, epsilon)))
    c = b.emit("Sub", bias, b.emit("Mul", mean, a))
    product = b.emit("Mul", b.input(0), b.emit("Reshape", a, per_channel))
    b.emit("Add", product, b.emit("Reshape", c, per_channel), to=b.node.output[0])
    return b.nodes


def explicit_pads(b: Builder) -> list[NodeProto] | None:
    """`auto_pad` becomes `pads`, which it is once shapes are known."""
    mode = b.attribute("auto_pad", b"NOTSET")
    if mode in (b"NOTSET", b""):
        return None
    shape = b.shape(b.input(0))
    kernel = b.ints("kernel_shape", [])
    if not kernel:
        weight = b.shape(b.input(1))
        kernel = list(weight[2:]) if weight else []
    if shape is None or not kernel:
        return None
    strides = b.ints("strides", [1] * len(kernel))
    dilations = b.ints("dilations", [1] * len(kernel))
    begin, end = [], []
    for size, k, stride, dilation in zip(shape[2:], kernel, strides, dilations, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        total = 0 if mode == b"VALID" else total
        small, large = total // 2, total - total // 2
        begin.append(large if mode == b"SAME_LOWER" else small)
        end.append(small if mode == b"SAME_LOWER" else large)
    kept = [a for a in b.node.attribute if a.name not in ("auto_pad", "pads")]
    del b.node.attribute[:]
    b.node.attribute.extend([*kept, helper.make_attribute("pads", begin + end)])
    return [b.node]


def max_pool(b: Builder) -> list[NodeProto] | None:
    """Explicit pads; those that differ at both ends, which the torch op cannot say, become a `Pad` with -inf."""
    resolved = explicit_pads(b)
    pads = b.ints("pads", [])
    half = len(pads) // 2
    if pads[:half] == pads[half:] or len(b.node.output) > 1 or b.element(b.input(0)) != TensorProto.FLOAT:
        return resolved
    if b.graph.opset < 11 or b.attribute("ceil_mode", 0):
        return resolved
    amounts = b.constant("pads", np.array([0, 0, *pads[:half], 0, 0, *pads[half:]], np.int64))
    lowest = b.constant("lowest", np.array(-np.inf, np.float32))
    padded = b.emit("Pad", b.input(0), amounts, lowest)
    b.node.input[0] = padded
    kept = [a for a in b.node.attribute if a.name != "pads"]
    del b.node.attribute[:]
    b.node.attribute.extend(kept)
    return [*b.nodes, b.node]


def resize(b: Builder) -> list[NodeProto] | None:
    """Nearest-neighbour enlargement by whole factors repeats elements: a broadcast and two reshapes, no index
    arithmetic.
    """
    source, target = b.shape(b.input(0)), b.shape(b.node.output[0])
    place = b.attribute("coordinate_transformation_mode", b"half_pixel")
    rounding = b.attribute("nearest_mode", b"round_prefer_floor")
    if b.attribute("mode", b"nearest") != b"nearest" or source is None or target is None or 0 in source:
        return None
    if (place, rounding) not in {(b"asymmetric", b"floor"), (b"half_pixel", b"round_prefer_floor")}:
        return None
    if any(t % s for s, t in zip(source, target, strict=True)) or not _scales_agree(b, source, target):
        return None
    split = [n for size in source for n in (size, 1)]
    repeated = [n for s, t in zip(source, target, strict=True) for n in (s, t // s)]
    one = b.emit("Reshape", b.input(0), b.constant("split", np.array(split, np.int64)))
    many = b.emit("Expand", one, b.constant("repeated", np.array(repeated, np.int64)))
    b.emit("Reshape", many, b.constant("joined", np.array(target, np.int64)), to=b.node.output[0])
    return b.nodes


def _scales_agree(b: Builder, source: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether the scales, when they are given rather than sizes, are exactly the ratios of the shapes."""
    if b.attribute("axes") is not None:
        return False
    if not b.input(2) or (b.graph.constants.get(b.input(2)) is not None and not b.graph.constants[b.input(2)].size):
        return bool(b.input(3))
    scales = b.graph.constants.get(b.input(2))
    return scales is not None and np.array_equal(np.asarray(scales), np.array(target) / np.array(source))


def matmul(b: Builder) -> list[NodeProto] | None:
    """A vector operand beside one of rank 3 or more becomes a matrix."""
    left, right = b.shape(b.input(0)), b.shape(b.input(1))
    if left is None or right is None or min(len(left), len(right)) != 1 or max(len(left), len(right)) < 3:
        return None
    vector_left = len(left) == 1
    axis = b.constant("axis", np.array([0 if vector_left else 1], np.int64))
    squeezed = b.constant("squeezed", np.array([-2 if vector_left else -1], np.int64))
    if b.graph.opset < 13:
        return None
    matrix = b.emit("Unsqueeze", b.input(0 if vector_left else 1), axis)
    operands = (matrix, b.input(1)) if vector_left else (b.input(0), matrix)
    b.emit("Squeeze", b.emit("MatMul", *operands), squeezed, to=b.node.output[0])
    return b.nodes


def cast_like(b: Builder) -> list[NodeProto] | None:
    """The target is the type of the second operand."""
    element = b.element(b.input(1))
    if not element:
        return None
    return [helper.make_node("Cast", [b.input(0)], list(b.node.output), name=b.node.name, to=element)]


def dropout(b: Builder) -> list[NodeProto] | None:
    """Inference: the data pass through, and the mask is all true."""
    training = b.graph.constants.get(b.input(2)) if b.input(2) else None
    if b.input(2) and (training is None or bool(np.asarray(training).any())):
        return None
    shape = b.shape(b.input(0))
    if len(b.node.output) > 1 and b.node.output[1]:
        if shape is None:
            return None
        b.graph.constants[b.node.output[1]] = np.ones(shape, np.bool_)
    b.emit("Identity", b.input(0), to=b.node.output[0])
    return b.nodes


def reduce_bool(b: Builder) -> list[NodeProto] | None:
    """The greatest or least of booleans, through uint8, whose neutral elements are false and true."""
    if b.element(b.input(0)) != TensorProto.BOOL:
        return None
    wide = helper.make_node(
        "Cast", [b.input(0)], [f"{b.node.name}/wide"], name=f"{b.node.name}/wide", to=TensorProto.UINT8
    )
    narrow = helper.make_node(
        "Cast", [f"{b.node.name}/result"], list(b.node.output), name=f"{b.node.name}/narrow", to=TensorProto.BOOL
    )
    b.node.input[0] = f"{b.node.name}/wide"
    b.node.output[0] = f"{b.node.name}/result"
    return [wide, b.node, narrow]


def reduction(b: Builder) -> list[NodeProto] | None:
    """Axes that are computed, but that the shapes tell: those where the result has one element and the operand more."""
    boolean = reduce_bool(b) if b.node.op_type in ("ReduceMax", "ReduceMin") else None
    axes = b.input(1)
    source, target = b.shape(b.input(0)), b.shape(b.node.output[0])
    if not axes or axes in b.graph.constants or not b.attribute("keepdims", 1) or source is None or target is None:
        return boolean
    if len(source) != len(target):
        return boolean
    told = [i for i, (s, t) in enumerate(zip(source, target, strict=True)) if s != t or s == 1]
    b.node.input[1] = b.constant("axes", np.array(told, np.int64))
    return boolean or [b.node]


def conv_transpose(b: Builder) -> list[NodeProto] | None:
    """Explicit pads; and with groups, which upstream lowers wrongly, a convolution of the operand spread with zeros."""
    source, weight = b.shape(b.input(0)), b.shape(b.input(1))
    if source is None or weight is None:
        return None
    rank = len(source) - 2
    kernel = list(weight[2:])
    strides, dilations = b.ints("strides", [1] * rank), b.ints("dilations", [1] * rank)
    extra = b.ints("output_padding", [0] * rank)
    pads, extra = _transposed_pads(b, source, kernel, strides, dilations, extra)
    kept = [a for a in b.node.attribute if a.name not in _RESOLVED]
    changed = any(a.name in ("auto_pad", "output_shape") for a in b.node.attribute)
    del b.node.attribute[:]
    b.node.attribute.extend(
        [*kept, helper.make_attribute("pads", pads), helper.make_attribute("output_padding", extra)]
    )
    group = int(str(b.attribute("group", 1)))
    dense = b.graph.constants.get(b.input(1))
    if group == 1 or not isinstance(dense, np.ndarray) or b.graph.opset < 11:
        return [b.node] if changed else None
    return _spread_convolution(b, source, dense, group, (strides, dilations, extra, pads))


_RESOLVED = ("auto_pad", "pads", "output_shape", "output_padding")


def _transposed_pads(
    b: Builder, source: tuple[int, ...], kernel: list[int], strides: list[int], dilations: list[int], extra: list[int]
) -> tuple[list[int], list[int]]:
    """The `pads` and `output_padding` of a ConvTranspose, from `auto_pad` or `output_shape` where they say so."""
    mode = b.attribute("auto_pad", b"NOTSET")
    target = b.ints("output_shape", [])
    if not target and mode in (b"SAME_UPPER", b"SAME_LOWER"):
        target = [size * stride for size, stride in zip(source[2:], strides, strict=True)]
    if not target:
        return b.ints("pads", [0] * (2 * len(kernel))), extra
    begin, end, beyond = [], [], []
    rows = zip(source[2:], kernel, strides, dilations, extra, target[-len(kernel) :], strict=True)
    for size, k, stride, dilation, more, wanted in rows:
        surplus = stride * (size - 1) + more + (k - 1) * dilation + 1 - wanted
        small, large = max(surplus, 0) // 2, max(surplus, 0) - max(surplus, 0) // 2
        begin.append(small if mode == b"SAME_UPPER" else large)
        end.append(large if mode == b"SAME_UPPER" else small)
        beyond.append(more + max(-surplus, 0))
    return begin + end, beyond


def _spread_convolution(
    b: Builder,
    source: tuple[int, ...],
    weight: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
    group: int,
    form: tuple[list[int], list[int], list[int], list[int]],
) -> list[NodeProto]:
    """The convolution, with the flipped weight, of the operand that has `stride - 1` zeros after each element."""
    strides, dilations, extra, pads = form
    rank, kernel = len(strides), list(weight.shape[2:])
    c_in, per_group = weight.shape[:2]
    turned = weight.reshape(group, c_in // group, per_group, *kernel).swapaxes(1, 2)
    turned = np.flip(turned.reshape(group * per_group, c_in // group, *kernel), tuple(range(2, 2 + rank)))
    split = [*source[:2], *(n for size in source[2:] for n in (size, 1))]
    spread = [0] * 2 + [0] * (2 * rank) + [0] * 2 + [n for stride in strides for n in (0, stride - 1)]
    joined = [*source[:2], *(size * stride for size, stride in zip(source[2:], strides, strict=True))]
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    begin = [r - p for r, p in zip(reach, pads[:rank], strict=True)]
    end = [r - p + e - (s - 1) for r, p, e, s in zip(reach, pads[rank:], extra, strides, strict=True)]
    x = b.emit("Reshape", b.input(0), b.constant("split", np.array(split, np.int64)))
    x = b.emit("Pad", x, b.constant("spread", np.array(spread, np.int64)))
    x = b.emit("Reshape", x, b.constant("joined", np.array(joined, np.int64)))
    x = b.emit("Pad", x, b.constant("pads", np.array([0, 0, *begin, 0, 0, *end], np.int64)))
    operands = [x, b.constant("weight", np.ascontiguousarray(turned)), *([b.input(2)] if b.input(2) else [])]
    b.emit("Conv", *operands, to=b.node.output[0], attributes={"group": group, "dilations": dilations})
    return b.nodes


def power(b: Builder) -> list[NodeProto] | None:
    """Squares, cubes and square roots are no calls of `pow`."""
    exponent = b.graph.constants.get(b.input(1))
    element = b.element(b.input(0))
    if exponent is None or exponent.size != 1 or len(exponent.shape) > len(b.shape(b.input(0)) or ()):
        return None
    if element not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
        return None
    x, result = b.input(0), b.node.output[0]
    match float(np.asarray(exponent).reshape(-1)[0]):
        case 1.0:
            b.emit("Identity", x, to=result)
        case 2.0:
            b.emit("Mul", x, x, to=result)
        case 3.0:
            b.emit("Mul", b.emit("Mul", x, x), x, to=result)
        case 0.5:
            b.emit("Sqrt", x, to=result)
        case _:
            return None
    return b.nodes


def reciprocal(b: Builder) -> list[NodeProto] | None:
    """A division: the torch operator's lowering ends the process when an element is zero."""
    dtype = helper.tensor_dtype_to_np_dtype(b.element(b.input(0)) or TensorProto.FLOAT)
    b.emit("Div", b.constant("one", np.array(1, dtype)), b.input(0), to=b.node.output[0])
    return b.nodes


def einsum(b: Builder) -> list[NodeProto] | None:
    """Over scalars only: a product. The upstream lowering allocates without bound on it."""
    if any(b.shape(name) != () for name in b.node.input):
        return None
    product = b.input(0)
    for name in b.node.input[1:]:
        product = b.emit("Mul", product, name)
    b.emit("Identity", product, to=b.node.output[0])
    return b.nodes


REWRITES: Mapping[str, Callable[[Builder], list[NodeProto] | None]] = {
    "AveragePool": explicit_pads,
    "BatchNormalization": batch_normalization,
    "CastLike": cast_like,
    "Conv": explicit_pads,
    "ConvInteger": explicit_pads,
    "ConvTranspose": conv_transpose,
    "Dropout": dropout,
    "Einsum": einsum,
    "InstanceNormalization": instance_normalization,
    "LayerNormalization": layer_normalization,
    "LpPool": explicit_pads,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "Pow": power,
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
}

EXPANDED = (
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
    present = {node.op_type for node in graph.graph.node}
    for op_type in EXPANDED:
        changed |= op_type in present and expand(graph, op_type)
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
    before = {output for node in graph.graph.node for output in node.output}
    try:
        model = onnx.inliner.inline_selected_functions(graph.to_model(), [("", op_type)], inline_schema_functions=True)
    except (RuntimeError, ValueError, onnx.shape_inference.InferenceError):
        return False
    if any(node.op_type == op_type for node in model.graph.node):
        return False
    for node in model.graph.node:
        if not node.name or not before.issuperset(node.output):
            node.name = f"{op_type}:{node.output[0]}"
    graph.reload(model)
    return True
