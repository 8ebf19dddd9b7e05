"""Which buffers of `@main` may hold halves, and the copies of those that may not.

The rule: what a product made, or is made of, is of 16 bits between steps; what only depends on inputs and weights (masks,
tables of positions) stays as it is, and so does what is added up in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.ir.module import element_of, shape_of, users
from sparsec.kernels.epilogue import Reach
from sparsec.passes.access import VIEWS, parallel_loops
from sparsec.passes.layer import Layer, is_layer

ALLOC = "memref.alloc"
EXTREMES = ("arith.maximumf", "arith.minimumf", "arith.maxnumf", "arith.minnumf")


def base_of(value: ir.Value) -> ir.Value:
    """The buffer behind a chain of views."""
    while not isinstance(value.owner, ir.Block) and value.owner.operation.name in VIEWS:
        value = value.owner.operation.operands[0]
    return value


def is_alloc(value: ir.Value) -> bool:
    return not isinstance(value.owner, ir.Block) and value.owner.operation.name == ALLOC


def uses_of(buffer: ir.Value) -> Iterator[tuple[ir.Operation, int, ir.Value]]:
    """Every op that is no view and uses a buffer, with the operand's position and the view that it uses."""
    for use in list(buffer.uses):
        op = use.owner.operation
        if op.name in VIEWS:
            yield from uses_of(op.results[0])
        else:
            yield op, use.operand_number, buffer


def axis_groups(reshape: ir.Operation) -> list[list[int]]:
    """Which axes a reshape makes one, or makes of one."""
    groups = ir.ArrayAttr(reshape.attributes["reassociation"])
    return [[ir.IntegerAttr(axis).value for axis in ir.ArrayAttr(group)] for group in groups]


def half_positions(layer: Layer) -> list[int]:
    """The operands of a layer that products take in 16 bits: what it multiplies but weights, the residual, and y last."""
    last = len(layer.op.operands) - 1
    if layer.contraction.name == "sparsec.attention":  # the mask stays as it is
        return [0, 1, 2, last]
    reached = [each.reach for each in layer.epilogue().operands]
    full = [layer.arity + at for at, each in enumerate(reached) if each is Reach.FULL]
    second = [1] if layer.contraction.name == "sparsec.matmul" else []  # which may be a constant, too
    return [0, *second, *full, last]


def can_be_half(buffer: ir.Value) -> bool:
    """True for an allocation of float32 all of whose uses are element by element."""
    if not is_alloc(buffer) or str(element_of(buffer)) != "f32":
        return False
    return all(_element_by_element(op, position) for op, position, _ in uses_of(buffer))


def _element_by_element(op: ir.Operation, position: int) -> bool:
    if op.name == "memref.dealloc":
        return True
    if op.name != "linalg.generic":
        return False
    if is_layer(op):
        return position in half_positions(Layer(op))
    return position < len(op.operands) - outputs_of(op) or all(parallel_loops(op))


def outputs_of(op: ir.Operation) -> int:
    """How many of a generic's operands, the last ones, it writes."""
    return int(list(ir.DenseI32ArrayAttr(op.attributes["operandSegmentSizes"]))[1])


def made_by_products(ops: Sequence[ir.Operation]) -> set[ir.Value]:
    """The allocations that depend on a layer's result, or that a layer takes in 16 bits."""
    found: set[ir.Value] = set()
    for op in ops:
        bases = [base_of(value) for value in op.operands if isinstance(value.type, ir.MemRefType)]
        if op.name == "linalg.generic" and is_layer(op):
            layer = Layer(op)
            found.update(base_of(op.operands[at]) for at in half_positions(layer))
        elif op.name in VIEWS or op.name == ALLOC:
            continue
        elif any(base in found for base in bases):
            written = bases[len(bases) - outputs_of(op) :] if op.name == "linalg.generic" else bases
            found.update(written)
    return {base for base in found if is_alloc(base)}


def alloc(shape: Sequence[int], element: ir.Type, ip: ir.InsertionPoint) -> ir.Value:
    """A new buffer without gaps."""
    segments = {"operandSegmentSizes": ir.DenseI32ArrayAttr.get([0, 0])}
    return ir.Operation.create(ALLOC, results=[ir.MemRefType.get(shape, element)], attributes=segments, ip=ip).results[
        0
    ]


def nest(
    inputs: Sequence[ir.Value],
    target: ir.Value,
    loops: int,
    indices: Sequence[Sequence[ir.AffineExpr]],
    ip: ir.InsertionPoint,
) -> list[ir.Value]:
    """A generic with an empty body, whose arguments are returned; the first loops walk the target's axes, the others sum."""
    rank = len(shape_of(target))
    own = [ir.AffineDimExpr.get(axis) for axis in range(rank)]
    kinds = ["parallel"] * rank + ["reduction"] * (loops - rank)
    generic = ir.Operation.create(
        "linalg.generic",
        operands=[*inputs, target],
        attributes={
            "indexing_maps": ir.ArrayAttr.get(
                [ir.AffineMapAttr.get(ir.AffineMap.get(loops, 0, list(each))) for each in (*indices, own)]
            ),
            "iterator_types": ir.ArrayAttr.get(
                [ir.Attribute.parse(f"#linalg.iterator_type<{kind}>") for kind in kinds]
            ),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([len(inputs), 1]),
        },
        regions=1,
        ip=ip,
    )
    types = [element_of(value) for value in (*inputs, target)]
    block = generic.regions[0].blocks.append(*types, arg_locs=[ir.Location.current] * len(types))
    return list(block.arguments)


def copy(source: ir.Value, target: ir.Value, ip: ir.InsertionPoint) -> None:
    """A loop that copies a buffer to one of the same shape, rounding or widening it on the way."""
    rank = len(shape_of(source))
    value, result = nest([source], target, rank, [[ir.AffineDimExpr.get(axis) for axis in range(rank)]], ip)
    inside = ir.InsertionPoint(value.owner)
    ir.Operation.create("linalg.yield", operands=[converted(value, result.type, inside)], ip=inside)


def fill(target: ir.Value, number: float, ip: ir.InsertionPoint) -> None:
    """A loop that makes every element of a buffer of floating-point numbers the same."""
    (element,) = nest([], target, len(shape_of(target)), [], ip)
    with ir.InsertionPoint(element.owner):
        ir.Operation.create("linalg.yield", operands=[arith.constant(element.type, number)])


def converted(value: ir.Value, type_: ir.Type, ip: ir.InsertionPoint) -> ir.Value:
    """A floating-point number in another type."""
    if value.type == type_:
        return value
    name = "arith.extf" if ir.FloatType(value.type).width < ir.FloatType(type_).width else "arith.truncf"
    return ir.Operation.create(name, results=[type_], operands=[value], ip=ip).results[0]


def retype(value: ir.Value, element: ir.Type) -> ir.Value:
    """The same allocation or view with other elements, and all views of it; uses by other ops are moved to it as they are."""
    op = value.owner.operation
    old = ir.MemRefType(value.type)
    made = ir.Operation.create(
        op.name,
        results=[ir.MemRefType.get(old.shape, element, layout=old.layout)],
        operands=list(op.operands),
        attributes={name: op.attributes[name] for name in op.attributes},
        loc=op.location,
        ip=ir.InsertionPoint(op),
    )
    for user in users(value):
        if user.name in VIEWS:
            for position, operand in enumerate(user.operands):
                if operand == value:
                    user.operands[position] = made.results[0]
            retype(user.results[0], element)
    value.replace_all_uses_with(made.results[0])
    op.erase()
    return made.results[0]


def narrow_argument(op: ir.Operation, position: int, half: ir.Type) -> None:
    """The body of a generic one of whose operands has halves now."""
    block = op.regions[0].blocks[0]
    argument = block.arguments[position]
    wide = argument.type
    if wide == half:
        return
    uses = [(use.owner.operation, use.operand_number) for use in argument.uses]
    argument.set_type(half)
    first, *_ = [each.operation for each in block.operations]
    if is_layer(op):  # whose contraction comes first, and takes halves
        uses = [(user, at) for user, at in uses if user != first]
        first = block.operations[1].operation
    if uses:
        value = converted(argument, wide, ir.InsertionPoint(first))
        for user, at in uses:
            user.operands[at] = value
    result = position - (len(op.operands) - outputs_of(op))
    if result >= 0:
        last = list(block.operations)[-1].operation
        last.operands[result] = converted(last.operands[result], half, ir.InsertionPoint(last))
