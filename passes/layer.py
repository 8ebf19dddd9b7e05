"""What passes know of a layer in its destination-passing form (see `fuse_epilogue`): its parts, its problem, its epilogue."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch_mlir import ir

from sparsec.ir.module import element_of, find, integers, shape_of
from sparsec.ir.weights import WEIGHT_OP, weight_name
from sparsec.kernels.arithmetic import F32, REDUCED, U8S8, Arithmetic
from sparsec.kernels.epilogue import Epilogue, EpilogueOperand, Reach, identity
from sparsec.kernels.problem import (
    AttentionProblem,
    Axis,
    ConvProblem,
    LinearProblem,
    Lines,
    MatmulProblem,
    Problem,
)
from sparsec.passes.access import indexing_maps

LIBRARY_CALL = "sparsec"
PRECISION = "precision"  # the attribute of layers that compute in less than the type of their activations
# The attributes of products that read an operand in another order than that of its axes.
AXES: Mapping[str, Sequence[str]] = {
    "sparsec.matmul": ("left_axes", "right_axes"),
    "sparsec.attention": ("q_axes", "k_axes", "v_axes"),
}

RESULT_AXES = "y_axes"  # the same of attention's result


@dataclass(frozen=True, slots=True)
class Layer:
    """A `linalg.generic` with `library_call = "sparsec"`."""

    op: ir.Operation

    @property
    def contraction(self) -> ir.Operation:
        """The `sparsec.*` op that opens the body."""
        return self.op.regions[0].blocks[0].operations[0].operation

    @property
    def arity(self) -> int:
        """How many inputs the contraction has; those of the epilogue follow."""
        return len(self.contraction.operands)

    @property
    def inputs(self) -> list[ir.Value]:
        """The operands of the contraction, and those of the epilogue."""
        return list(self.op.operands)[:-1]

    @property
    def destination(self) -> ir.Value:
        return self.op.operands[len(self.op.operands) - 1]

    @property
    def maps(self) -> list[ir.AffineMap]:
        return indexing_maps(self.op)

    @property
    def weight(self) -> str | None:
        """The name of the weight; None if the second operand is no weight of one layer: products and attention take a
        constant as they take an activation.
        """
        if self.contraction.name in ("sparsec.matmul", "sparsec.attention"):
            return None
        owner = self.op.operands[1].owner
        is_weight = isinstance(owner, (ir.Operation, ir.OpView)) and owner.operation.name == WEIGHT_OP
        return weight_name(owner.operation) if is_weight else None

    @property
    def name(self) -> str:
        return str(ir.StringAttr(self.op.attributes["layer"]).value)

    @property
    def arithmetic(self) -> Arithmetic:
        """By the type of x, or as `narrow_precision` decided."""
        if str(element_of(self.inputs[0])) == U8S8.stored:
            return U8S8
        if PRECISION not in self.op.attributes:
            return F32
        return REDUCED[ir.StringAttr(self.op.attributes[PRECISION]).value]

    def problem(self) -> Problem:
        """The shapes of the contraction, and its arithmetic."""
        first, second, y = (shape_of(value) for value in (*self.inputs[:2], self.destination))
        match self.contraction.name:
            case "sparsec.conv":
                return self._convolution(first, second)
            case "sparsec.linear":
                return LinearProblem(math.prod(first[:-1]), first[-1], y[-1], self.arithmetic)
            case "sparsec.matmul":
                p = self._matrices(0)
                return MatmulProblem(
                    batch=math.prod(p[:-2]),
                    rows=p[-2],
                    inner=p[-1],
                    columns=y[-1],
                    transposed="transposed" in self.contraction.attributes,
                    arithmetic=self.arithmetic,
                    zeros=self._zeros(),
                    left=self._lines(0),
                    right=self._lines(1),
                )
            case "sparsec.attention":
                return self._attention()
        raise AssertionError(f"unknown contraction {self.contraction.name}")

    def axes_of(self, operand: int) -> tuple[int, ...] | None:
        """Which axis of an operand of a product is the first of its matrices, the second, …, if they are in another order."""
        attributes, name = self.contraction.attributes, AXES[self.contraction.name][operand]
        return integers(attributes[name]) if name in attributes else None

    def _matrices(self, operand: int) -> tuple[int, ...]:
        """The shape of an operand of a product, its axes in the order of a batch of matrices."""
        shape, axes = shape_of(self.inputs[operand]), self.axes_of(operand)
        return shape if axes is None else tuple(shape[axis] for axis in axes)

    def _lines(self, operand: int) -> Lines | None:
        """Where lines of an operand of a product lie, if not behind each other."""
        axes = self.axes_of(operand)
        return lines_of(shape_of(self.inputs[operand]), axes) if axes is not None else None

    def _attention(self) -> AttentionProblem:
        """The shapes of attention."""
        batch, heads, queries, size = self._matrices(0)
        mask: tuple[int, int, int, int] | None = None
        if self.arity > len(AXES["sparsec.attention"]):
            of_batch, of_head, of_query, of_key = shape_of(self.inputs[self.arity - 1])
            mask = of_batch, of_head, of_query, of_key
        scale = float(ir.FloatAttr(self.contraction.attributes["scale"]).value)
        q, k, v = (self._lines(operand) for operand in range(3))
        attributes = self.contraction.attributes
        y = (
            lines_of(shape_of(self.destination), integers(attributes[RESULT_AXES]))
            if RESULT_AXES in attributes
            else None
        )
        return AttentionProblem(
            batch, heads, queries, self._matrices(1)[-2], size, scale, mask, (q, k, v, y), self.arithmetic
        )

    def _zeros(self) -> tuple[int, int]:
        """The zero points of a product of bytes."""
        attributes = self.contraction.attributes
        first, second = integers(attributes["zeros"]) if "zeros" in attributes else (0, 0)
        return first, second

    def _convolution(self, x: Sequence[int], w: Sequence[int]) -> ConvProblem:
        attributes = self.contraction.attributes
        strides, dilations, before, after = (
            integers(attributes[name]) for name in ("strides", "dilations", "before", "after")
        )
        axes = tuple(map(Axis, x[2:], w[2:], strides, dilations, before, after))
        groups = ir.IntegerAttr(attributes["groups"]).value
        pad_value = ir.IntegerAttr(attributes["pad_value"]).value if "pad_value" in attributes else 0
        return ConvProblem(x[0], x[1], w[0], groups, axes, self.arithmetic, pad_value)

    def epilogue(self) -> Epilogue:
        """The rest of the body as text, with how far each operand reaches."""
        body = self.op.regions[0].blocks[0]
        total = self.contraction.results[0]
        channel = channel_axis(self.contraction.name, len(shape_of(self.destination)))
        shape, operands = shape_of(self.destination), []
        for value, indexing in list(zip(self.inputs, self.maps, strict=False))[self.arity :]:
            covered = reach(list(indexing.results), shape, channel)
            assert covered is not None, "fuse_epilogue only absorbs operands that kernels can read"
            operands.append(EpilogueOperand(covered, str(element_of(value))))
        if len(body.operations) == 2:  # the contraction, and the yield of its result
            return identity(str(total.type))
        arguments = list(body.arguments)[self.arity : self.arity + len(operands)]
        *ops, end = [op.operation for op in body.operations][1:]
        text = function_text(ops, end.operands[0], [total, *arguments])
        return Epilogue(text, tuple(operands), str(total.type), str(element_of(self.destination)))


def lines_of(shape: Sequence[int], axes: Sequence[int]) -> Lines | None:
    """Where lines of matrices lie whose axes are `axes` of a tensor; None if that takes more than two numbers."""
    steps = [math.prod(shape[axis + 1 :]) for axis in axes]
    batch = [step for step, axis in zip(steps[:-2], axes, strict=False) if shape[axis] > 1]
    if steps[-1] != 1 or len(batch) > 1:
        return None
    return Lines(steps[-2], batch[0] if batch else 0)


def layers(module: ir.Module) -> list[Layer]:
    """All layers of the module, in program order."""
    return [Layer(op) for op in find(module, is_layer)]


def is_layer(op: ir.Operation) -> bool:
    return "library_call" in op.attributes and bool(ir.StringAttr(op.attributes["library_call"]).value == LIBRARY_CALL)


def channel_axis(contraction: str, rank: int) -> int:
    """The axis of y that counts filters / output features."""
    return 1 if contraction == "sparsec.conv" else rank - 1


def reach(expressions: Sequence[ir.AffineExpr], shape: Sequence[int], channel: int) -> Reach | None:
    """How an operand indexed by `expressions` of y's axes covers y of `shape`; None if in no way that kernels know."""
    axes: list[int] = []
    for expression in expressions:
        if isinstance(expression, ir.AffineDimExpr):
            axes.append(expression.position)
        elif not isinstance(expression, ir.AffineConstantExpr):
            return None
    wide = [axis for axis in axes if shape[axis] != 1]
    if wide == [axis for axis, size in enumerate(shape) if size != 1]:
        return Reach.FULL
    if wide == [channel]:
        return Reach.CHANNEL
    return None if wide else Reach.SCALAR


def clone_body(source: Sequence[ir.Operation], into: ir.Block, values: dict[ir.Value, ir.Value]) -> None:
    """Append copies of the ops of `source` to `into`, operands renamed by `values`, which learns their results."""
    for operation in source:
        clone = ir.Operation.create(
            operation.name,
            results=[result.type for result in operation.results],
            operands=[values.get(operand, operand) for operand in operation.operands],
            attributes={name: operation.attributes[name] for name in operation.attributes},
            loc=operation.location,
            ip=ir.InsertionPoint(into),
        )
        values.update(zip(operation.results, clone.results, strict=True))


def function_text(ops: Sequence[ir.Operation], result: ir.Value, inputs: Sequence[ir.Value]) -> str:
    """`func.func private @epilogue` of element-wise ops that compute `result` from `inputs`; constants come in."""
    module = ir.Module.create(ir.Location.unknown())
    signature = ir.FunctionType.get([value.type for value in inputs], [result.type])
    function = ir.Operation.create(
        "func.func",
        attributes={
            "sym_name": ir.StringAttr.get("epilogue"),
            "sym_visibility": ir.StringAttr.get("private"),
            "function_type": ir.TypeAttr.get(signature),
        },
        regions=1,
        ip=ir.InsertionPoint(module.body),
    )
    block = function.regions[0].blocks.append(*signature.inputs, arg_locs=[ir.Location.unknown()] * len(inputs))
    values: dict[ir.Value, ir.Value] = dict(zip(inputs, block.arguments, strict=True))
    inside = {result for op in ops for result in op.results} | set(inputs)
    used = [*(value for op in ops for value in op.operands), result]
    outside = dict.fromkeys(value for value in used if value not in inside)
    clone_body([value.owner.operation for value in outside], block, values)
    clone_body(ops, block, values)
    ir.Operation.create("func.return", operands=[values[result]], ip=ir.InsertionPoint(block))
    return str(function)
