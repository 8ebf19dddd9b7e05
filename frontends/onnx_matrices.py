"""Matrix products of ONNX in forms that upstream lowers right."""

from __future__ import annotations

from onnx import NodeProto, TensorProto

from sparsec.frontends.onnx_builder import Builder


def matmul(b: Builder) -> list[NodeProto] | None:
    """A vector operand beside one of rank 3 or more becomes a matrix; a sum over nothing is zero; of two stacks of which one
    has a single matrix (upstream refuses them), that one is repeated.
    """
    _refuse_bytes(b)
    left, right = b.shape(b.input(0)), b.shape(b.input(1))
    if left is None or right is None:
        return None
    target = b.shape(b.node.output[0])
    if target is not None and left and left[-1] == 0:
        zero = b.number(0, b.element(b.input(0)))
        b.emit("Expand", zero, b.whole(*target), to=b.node.output[0])
        return b.nodes
    if len(left) == len(right) == 3 and left[0] != right[0] and target is not None:
        return _repeated(b, left, right, target)
    if min(len(left), len(right)) != 1 or max(len(left), len(right)) < 3 or b.graph.opset < 13:
        return None
    vector_left = len(left) == 1
    matrix = b.emit("Unsqueeze", b.input(0 if vector_left else 1), b.whole(0 if vector_left else 1))
    operands = (matrix, b.input(1)) if vector_left else (b.input(0), matrix)
    squeezed = b.whole(-2 if vector_left else -1)
    b.emit("Squeeze", b.emit("MatMul", *operands), squeezed, to=b.node.output[0])
    return b.nodes


def _repeated(
    b: Builder, left: tuple[int, ...], right: tuple[int, ...], target: tuple[int, ...]
) -> list[NodeProto] | None:
    if right[0] == 1:
        b.emit("MatMul", b.input(0), b.reshape(b.input(1), right[1:]), to=b.node.output[0])
    elif left[0] == 1:
        wide = b.reshape(b.input(0), (1, *left))
        b.reshape(b.emit("MatMul", wide, b.reshape(b.input(1), (1, *right))), target, to=b.node.output[0])
    return b.nodes or None


def gemm(b: Builder) -> list[NodeProto] | None:
    """A sum over nothing leaves the third operand. Without one, upstream overlooks the factor of the product."""
    _refuse_bytes(b)
    left, target, element = b.shape(b.input(0)), b.shape(b.node.output[0]), b.element(b.input(0))
    if left is None or target is None:
        return None
    if left[0 if b.integer("transA", 0) else 1]:
        return _scaled(b, element)
    rest = b.number(0, element)
    if b.input(2):
        rest = b.emit("Mul", b.input(2), b.number(b.real("beta", 1.0), element))
    b.emit("Expand", rest, b.whole(*target), to=b.node.output[0])
    return b.nodes


def _scaled(b: Builder, element: int) -> list[NodeProto] | None:
    """A product without a third operand, times its factor."""
    factor = b.real("alpha", 1.0)
    if b.input(2) or factor == 1:
        return None
    turned = {name: b.integer(name, 0) for name in ("transA", "transB")}
    product = b.emit("Gemm", b.input(0), b.input(1), attributes=turned)
    b.emit("Mul", product, b.number(factor, element), to=b.node.output[0])
    return b.nodes


def einsum(b: Builder) -> list[NodeProto] | None:
    """Over scalars only: a product (the upstream lowering allocates without bound on it). An equation without "->"
    gets the letters that occur once, in order.
    """
    equation = b.word("equation", "").replace(" ", "")
    if all(b.shape(name) == () for name in b.node.input):
        product = b.input(0)
        for name in b.node.input[1:]:
            product = b.emit("Mul", product, name)
        b.emit("Identity", product, to=b.node.output[0])
        return b.nodes
    if "->" in equation or "." in equation:
        return None
    letters = [letter for letter in sorted(set(equation) - {","}) if equation.count(letter) == 1]
    return b.without(equation=f"{equation}->{''.join(letters)}")


def _refuse_bytes(b: Builder) -> None:
    """Upstream ends the process on matrices of bytes, which ONNX has not."""
    if b.element(b.input(0)) in (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.BOOL):
        raise b.refuse("ONNX has no product of matrices of this type; MatMulInteger is one of bytes")
