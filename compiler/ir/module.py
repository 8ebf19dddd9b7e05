"""Finding and building ops: the few idioms that passes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch_mlir import ir


def find(module: ir.Module, wanted: Callable[[ir.Operation], bool]) -> list[ir.Operation]:
    """All ops of the module's functions that are `wanted`, in program order; the list stays valid while they are replaced.

    Modules inside the module, which hold finished kernels, are left out.
    """
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name == "builtin.module" and op != module.operation:
            return ir.WalkResult.SKIP
        if wanted(op):
            found.append(op)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit, ir.WalkOrder.PRE_ORDER)
    return found


def main_block(module: ir.Module) -> ir.Block:
    """The body of `@main`, where the network is."""
    return function(module, "main").regions[0].blocks[0]


def function(module: ir.Module, name: str) -> ir.Operation:
    """The `func.func` called `name`."""
    return next(op.operation for op in module.body.operations if symbol(op.operation) == name)


def symbol(op: ir.Operation) -> str | None:
    """The symbol name of an op, if it has one."""
    return ir.StringAttr(op.attributes["sym_name"]).value if "sym_name" in op.attributes else None


def users(value: ir.Value) -> list[ir.Operation]:
    """The ops that use a value, each once."""
    return list(dict.fromkeys(use.owner.operation for use in value.uses))


def replace(op: ir.Operation, values: Sequence[ir.Value]) -> None:
    """Give `values` to all users of `op`'s results, and erase it."""
    for result, value in zip(op.results, values, strict=True):
        result.replace_all_uses_with(value)
    op.erase()


def block_walk(op: ir.Operation) -> Iterator[ir.Operation]:
    """All ops nested in the regions of `op`, outermost first."""
    for region in op.regions:
        for block in region:
            for inner in block.operations:
                yield inner.operation
                yield from block_walk(inner.operation)


def integers(attribute: ir.Attribute) -> tuple[int, ...]:
    """The value of an i64 array attribute (`array<i64: 1, 2>` or `[1, 2]`)."""
    if isinstance(attribute, ir.DenseI64ArrayAttr):
        return tuple(ir.DenseI64ArrayAttr(attribute))
    return tuple(ir.IntegerAttr(item).value for item in ir.ArrayAttr(attribute))


def node_name(op: ir.Operation) -> str | None:
    """The name of the model's node that an op came from: the first name in its location."""
    parts = str(op.location).split('"')
    return parts[1] if len(parts) > 1 else None


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """Static shape of a tensor or memref value; () for a scalar."""
    return tuple(ir.ShapedType(value.type).shape) if isinstance(value.type, ir.ShapedType) else ()


def element_of(value: ir.Value) -> ir.Type:
    """The element type of a tensor or memref value; the type itself of a scalar."""
    return ir.ShapedType(value.type).element_type if isinstance(value.type, ir.ShapedType) else value.type
