"""Building a product of bytes in the place of one of two quantised activations (see `form_quantized`), as in attention.

Zero points are the kernel's business: they would need a sum of each row and of each column, which it makes on the way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.ir.torch_values import (
    TorchBuilder,
    definition,
    integer_list,
    scalar,
    tensor_element,
    tensor_shape,
    tensor_type,
)
from sparsec.kernels.arithmetic import U8S8
from sparsec.kernels.problem import MatmulProblem
from sparsec.passes.fold_constants import constant
from sparsec.passes.quantised_chain import Chain, take_integer_cast, take_quantisation
from sparsec.passes.quantised_values import Activation, activation_of
from sparsec.passes.unit import Unit

PRODUCTS = ("torch.aten.mm", "torch.aten.matmul", "torch.aten.bmm")
_TRANSPOSE, _PERMUTE = "torch.aten.transpose.int", "torch.aten.permute"


@dataclass(frozen=True, slots=True)
class QuantisedProduct:
    """p [..., i, k] times q [..., k, j], both codes of 8 bit with constant scale and zero point."""

    op: ir.Operation
    p: Activation
    q: Activation

    @property
    def zeros(self) -> tuple[int, int]:
        """The zero points of unsigned codes."""
        first, second = (
            (128 if tensor_element(each.codes) == "si8" else 0)
            + (round(each.zero) if isinstance(each.zero, float) else 0)
            for each in (self.p, self.q)
        )
        return first, second

    @property
    def scale(self) -> NDArray[np.float32] | None:
        """The scale of the sums; None is 1."""
        scales = [np.float32(each.scale) for each in (self.p, self.q) if isinstance(each.scale, float)]
        return np.asarray(np.prod(scales, dtype=np.float32)) if scales else None

    def problem(self) -> MatmulProblem:
        """What is asked of a kernel."""
        *batch, rows, inner = tensor_shape(self.op.operands[0]) or (0, 0)
        columns = (tensor_shape(self.op.operands[1]) or (0,))[-1]
        return MatmulProblem(math.prod(batch), rows, inner, columns, arithmetic=U8S8, zeros=self.zeros)


def product_of(op: ir.Operation, unit: Unit) -> QuantisedProduct | None:
    """None if one of the operands is not quantised, is constant, or has a scale or a zero point that is computed."""
    if op.name not in PRODUCTS:
        return None
    left, right = (tensor_shape(operand) or () for operand in op.operands)
    if len(left) < 2 or len(left) != len(right) or left[:-2] != right[:-2]:
        return None
    p, q = (activation_of(operand, unit) for operand in op.operands)
    if p is None or q is None:
        return None
    for each in (p, q):
        computed = isinstance(each.scale, ir.Value) or isinstance(each.zero, ir.Value)
        if computed or constant(each.codes, unit) is not None:
            return None
    return QuantisedProduct(op, p, q)


def form_product(product: QuantisedProduct, unit: Unit) -> None:
    """Put the product of bytes, and what scales its sums, in the place of the op."""
    op = product.op
    element, chain = tensor_element(op.results[0]), Chain([op])
    assert element is not None
    scale, rectified = take_quantisation(product.scale, chain, unit)
    element = take_integer_cast(element, chain)
    build = TorchBuilder(chain.end, op.location)
    value = _layer(product, build)
    if element != "si32":
        value = build.cast(value, element)
        value = value if scale is None else build.multiply(value, build.literal(scale.reshape(())), value.type)
    if rectified:
        value = build.create("torch.aten.relu", [value.type], [value])
    chain.replace(value)


def _layer(product: QuantisedProduct, build: TorchBuilder) -> ir.Value:
    """The product as si32."""
    p, (q, transposed) = _unsigned(product.p.moved(build.op), build), _right(product.q, build)
    attributes: dict[str, ir.Attribute] = {"zeros": ir.DenseI64ArrayAttr.get(list(product.zeros))}
    if transposed:
        attributes["transposed"] = ir.UnitAttr.get()
    shape = tensor_shape(product.op.results[0]) or ()
    result = ir.RankedTensorType.get(shape, ir.IntegerType.get_signless(32))
    operands = [build.to_builtin(p), build.to_builtin(_unsigned(q, build))]
    layer = build.create("sparsec.matmul", [result], operands, attributes)
    return build.from_builtin(layer, tensor_type(shape, "si32", build.context))


def _right(q: Activation, build: TorchBuilder) -> tuple[ir.Value, bool]:
    """The codes of q, and whether as [..., j, k]: a transposition of the last two axes is the kernel's business as well.

    Without it, elements that lie beside each other often stay so.
    """
    moved = definition(q.codes)
    if not q.moves and moved is not None and moved.name in (_TRANSPOSE, _PERMUTE):
        q = replace(q, codes=moved.operands[0], moves=(moved,))
    if not q.moves:
        return q.moved(build.op), False
    before, last = replace(q, moves=q.moves[:-1]), q.moves[-1]
    rank = len(tensor_shape(last.results[0]) or ())
    if last.name == _TRANSPOSE:
        axes = {int(axis) % rank for axis in (scalar(last.operands[1]), scalar(last.operands[2])) if axis is not None}
        return (before.moved(build.op), True) if axes == {rank - 2, rank - 1} else (q.moved(build.op), False)
    order = integer_list(last.operands[1]) if last.name == _PERMUTE else None
    if order is None or order[-2] % rank != rank - 1:
        return q.moved(build.op), False
    codes = before.moved(build.op)
    sizes, element = tensor_shape(codes) or (), tensor_element(codes)
    assert element is not None
    turned = [*order[:-2], order[-1], order[-2]]
    type_ = tensor_type([sizes[axis] for axis in turned], element, build.context)
    return build.create(_PERMUTE, [type_], [codes, build.integers(turned)]), True


def _unsigned(codes: ir.Value, build: TorchBuilder) -> ir.Value:
    """Codes as unsigned ones; the zero point moves along."""
    if tensor_element(codes) != "si8":
        return codes
    flip = build.literal(np.array(-128, np.int8))
    return build.create("torch.aten.bitwise_xor.Tensor", [codes.type], [codes, flip])
