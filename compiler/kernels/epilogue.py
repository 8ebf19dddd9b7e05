"""The element-wise tail of a layer (bias, activation, residual, …), fused into its kernel's store.

It is kept as the text of one scalar MLIR function, so that it can be compared, hashed and printed, and is vectorised by
re-creating each of its operations on vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from torch_mlir import ir


class Reach(Enum):
    """Which elements of an epilogue operand an output element uses."""

    FULL = "full"  # the element at the same place: the operand has the output's shape
    CHANNEL = (
        "channel"  # one value per filter (convolution) or per output feature (linear), shared by all pixels / tokens
    )
    SCALAR = "scalar"  # one value for the whole tensor


@dataclass(frozen=True, slots=True)
class EpilogueOperand:
    reach: Reach
    dtype: str  # an MLIR element type: "f32", "i32", "i8"


@dataclass(frozen=True, slots=True)
class Epilogue:
    """`source` is `func.func private @epilogue(%sum: f32, %operand0: f32, …) -> f32` with straight-line arith/math ops.

    `total` is the type of the sum, that of the kernel's arithmetic (f32 or i32); `result` that of y (f32, i32 or i8).
    """

    source: str
    operands: tuple[EpilogueOperand, ...]
    total: str = "f32"
    result: str = "f32"

    @property
    def tag(self) -> str:
        """Short name for symbol names; equal epilogues have equal tags."""
        if self == identity(self.total):
            return "id"
        return hashlib.sha256(f"{self.source}{self.operands}".encode()).hexdigest()[:8]

    def emit(self, total: ir.Value, operands: Sequence[ir.Value]) -> ir.Value:
        """Build the tail at the current insertion point on `total` (a number or a vector) and equally shaped operands."""
        return self.emit_abreast([total], [operands])[0]

    def emit_abreast(self, totals: Sequence[ir.Value], operands: Sequence[Sequence[ir.Value]]) -> list[ir.Value]:
        """The tails of several sums, each operation on all of them before the next.

        A tail is one long chain. Processors look ahead over so few instructions that wait for others that a chain after
        another takes a quarter longer than all side by side.
        """
        parsed = ir.Module.parse(self.source, totals[0].context)  # named, so that it outlives the walk
        block = parsed.body.operations[0].regions[0].blocks[0]
        known: list[dict[ir.Value, ir.Value]] = [
            dict(zip(block.arguments, [total, *others], strict=True))
            for total, others in zip(totals, operands, strict=True)
        ]
        for op in block.operations:
            operation = op.operation
            if operation.name == "func.return":
                return [values[operation.operands[0]] for values in known]
            for values, total in zip(known, totals, strict=True):
                clone = _clone(operation, values, total)
                values.update(zip(operation.results, clone.results, strict=True))
        raise AssertionError("an epilogue ends in func.return")


def _clone(operation: ir.Operation, values: Mapping[ir.Value, ir.Value], total: ir.Value) -> ir.Operation:
    """The operation on `values`, which are shaped as `total` is."""
    lanes = ir.VectorType(total.type).shape if isinstance(total.type, ir.VectorType) else None
    return ir.Operation.create(
        operation.name,
        results=[_widen(result.type, lanes) for result in operation.results],
        operands=[values[operand] for operand in operation.operands],
        attributes=_widen_constant(operation, lanes),
    )


def _widen(scalar: ir.Type, lanes: Sequence[int] | None) -> ir.Type:
    return scalar if lanes is None else ir.VectorType.get(lanes, scalar)


def _widen_constant(operation: ir.Operation, lanes: Sequence[int] | None) -> dict[str, ir.Attribute]:
    attributes = {name: operation.attributes[name] for name in operation.attributes}
    if lanes is not None and operation.name == "arith.constant":
        scalar = attributes["value"]
        attributes["value"] = ir.DenseElementsAttr.get_splat(_widen(scalar.type, lanes), scalar)
    return attributes


def identity(total: str) -> Epilogue:
    """The epilogue that leaves sums of type `total` as they are."""
    source = f"func.func private @epilogue(%sum: {total}) -> {total} {{\n  return %sum : {total}\n}}"
    return Epilogue(source, (), total, total)


IDENTITY = identity("f32")
