"""fuse_epilogue: layers take their destination-passing form and swallow the element-wise ops that follow them.

Before:
    %s = "sparsec.linear"(%x, %w) : (tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<8x4xf32>
    %y = linalg.generic {...} ins(%s, %bias : ...) { ^bb0(%a, %b, %o): %1 = arith.addf %a, %b  linalg.yield %1 }
After:
    %y = linalg.generic {library_call = "sparsec", ...} ins(%x, %w, %bias : ...) {
    ^bb0(%xe, %we, %b, %o): %a = "sparsec.linear"(%xe, %we) : (f32, f32) -> f32
                            %1 = arith.addf %a, %b  linalg.yield %1 }

The generic's first loops are the axes of y; the operands of the contraction have loops of their own, marked as reductions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch_mlir import ir

from sparsec.ir.dialect import LAYERS, POOL
from sparsec.ir.module import element_of, find, replace, shape_of, users
from sparsec.passes.access import indexing_maps, parallel_loops
from sparsec.passes.layer import LIBRARY_CALL, Layer, channel_axis, clone_body, is_layer, reach
from sparsec.passes.unit import Unit

_ELEMENTS = ("f32", "i32", "i8")  # that kernels load and store
_MAX_OPERANDS = 10  # a kernel passes each operand as one pointer


def fuse_epilogue(unit: Unit, *, bare: Collection[str] = ()) -> None:
    """Wrap every layer op, then absorb consumers until none fits; later layers first, so that they get the residual adds.

    Kernels of the contractions `bare` have no epilogues.
    """
    with unit.module.context, ir.Location.unknown():
        for layer in reversed(find(unit.module, lambda op: op.name in (*LAYERS, POOL))):
            fused = _wrap(layer)
            while Layer(fused).contraction.name not in bare and (consumer := _absorbable(fused)) is not None:
                fused = _absorb(fused, consumer)


def _wrap(op: ir.Operation) -> ir.Operation:
    """The destination-passing form of a layer op, with an empty epilogue."""
    y, ip = op.results[0], ir.InsertionPoint(op)
    empty = ir.Operation.create("tensor.empty", results=[y.type], loc=op.location, ip=ip).results[0]
    rank = len(shape_of(y))
    loops = rank + sum(len(shape_of(operand)) for operand in op.operands)
    maps, first = [], rank
    for operand in op.operands:
        maps.append(axes_map(loops, range(first, first + len(shape_of(operand)))))
        first += len(shape_of(operand))
    layer = layer_generic([*op.operands, empty], [*maps, axes_map(loops, range(rank))], loops, op)
    block = layer.regions[0].blocks[0]
    with op.location, ir.InsertionPoint(block):
        attributes = {name: op.attributes[name] for name in op.attributes}
        inner = ir.Operation.create(
            op.name, results=[element_of(y)], operands=list(block.arguments)[:-1], attributes=attributes
        )
        ir.Operation.create("linalg.yield", operands=[inner.results[0]])
    replace(op, [layer.results[0]])
    return layer


def axes_map(loops: int, axes: Sequence[int]) -> ir.AffineMap:
    """Of so many loops, those that walk an operand's axes."""
    return ir.AffineMap.get(loops, 0, [ir.AffineDimExpr.get(axis) for axis in axes])


def layer_generic(
    operands: Sequence[ir.Value], maps: Sequence[ir.AffineMap], loops: int, at: ir.Operation
) -> ir.Operation:
    """A layer's `linalg.generic` at the place of `at`, with an empty block; the last operand is the destination, which a
    buffer is written to.
    """
    destination = operands[-1]
    rank = len(shape_of(destination))
    kinds = ["parallel" if loop < rank else "reduction" for loop in range(loops)]
    segments = ir.DenseI32ArrayAttr.get([len(operands) - 1, 1])
    generic = ir.Operation.create(
        "linalg.generic",
        results=[] if isinstance(destination.type, ir.MemRefType) else [destination.type],
        operands=list(operands),
        attributes={
            "indexing_maps": ir.ArrayAttr.get([ir.AffineMapAttr.get(item) for item in maps]),
            "iterator_types": ir.ArrayAttr.get([ir.Attribute.parse(f"#linalg.iterator_type<{k}>") for k in kinds]),
            "library_call": ir.StringAttr.get(LIBRARY_CALL),
            "operandSegmentSizes": segments,
        },
        regions=1,
        loc=at.location,
        ip=ir.InsertionPoint(at),
    )
    elements = [element_of(operand) for operand in operands]
    generic.regions[0].blocks.append(*elements, arg_locs=[at.location] * len(elements))
    return generic


def _absorbable(layer: ir.Operation) -> ir.Operation | None:
    """The only reader of a layer, if it is element-wise in a way that the kernel's store can do."""
    y = layer.results[0]
    readers = users(y)
    if len(readers) != 1 or readers[0].name != "linalg.generic" or is_layer(readers[0]):
        return None
    consumer, shape = readers[0], shape_of(y)
    if len(consumer.results) != 1 or not all(parallel_loops(consumer)):
        return None
    if shape_of(consumer.results[0]) != shape or str(element_of(consumer.results[0])) not in _ELEMENTS:
        return None
    *inputs, destination = zip(consumer.operands, indexing_maps(consumer), strict=True)
    body = consumer.regions[0].blocks[0]
    identity = ir.AffineMap.get_identity(len(shape))
    if destination[1] != identity or list(body.arguments[len(inputs)].uses) or not _self_contained(body):
        return None
    channel = channel_axis(Layer(layer).contraction.name, len(shape))
    for value, indexing in inputs:
        if value == y:
            fits = indexing == identity
        else:
            fits = str(element_of(value)) in _ELEMENTS and reach(list(indexing.results), shape, channel) is not None
        if not fits:
            return None
    return consumer if len(layer.operands) + len(inputs) <= _MAX_OPERANDS else None


def _self_contained(body: ir.Block) -> bool:
    """True if the body uses its arguments and constants only, in straight-line arith and math."""
    inside = [op.operation for op in body.operations]
    for op in inside:
        if not op.name.startswith(("arith.", "math.")) and op.name != "linalg.yield":
            return False
        for operand in op.operands:
            owner = operand.owner
            if isinstance(owner, ir.Block):
                if owner != body:
                    return False
            elif owner.operation not in inside and owner.operation.name != "arith.constant":
                return False
    return True


def _absorb(layer: ir.Operation, consumer: ir.Operation) -> ir.Operation:
    """One generic that computes `consumer` of `layer`, at the consumer's place."""
    y, loops = layer.results[0], indexing_maps(layer)[0].n_dims
    *own, _ = zip(layer.operands, indexing_maps(layer), strict=True)
    *inputs, destination = zip(consumer.operands, indexing_maps(consumer), strict=True)
    added = [(value, ir.AffineMap.get(loops, 0, list(item.results))) for value, item in inputs if value != y]
    operands = [value for value, _ in (*own, *added)] + [destination[0]]
    maps = [item for _, item in (*own, *added)] + [indexing_maps(layer)[-1]]
    fused = layer_generic(operands, maps, loops, consumer)
    block, old, tail = (op.regions[0].blocks[0] for op in (fused, layer, consumer))
    values = dict(zip(list(old.arguments)[:-1], block.arguments, strict=False))
    total = _clone(old, block, values)
    extra = iter(list(block.arguments)[len(own) : -1])
    values = {
        argument: total if value == y else next(extra)
        for argument, (value, _) in zip(list(tail.arguments)[:-1], inputs, strict=True)
    }
    result = _clone(tail, block, values)
    with consumer.location, ir.InsertionPoint(block):
        ir.Operation.create("linalg.yield", operands=[result])
    replace(consumer, [fused.results[0]])
    layer.erase()
    return fused


def _clone(source: ir.Block, into: ir.Block, values: dict[ir.Value, ir.Value]) -> ir.Value:
    """Append a linalg body to `into`; returns what it yields, renamed."""
    *ops, end = [op.operation for op in source.operations]
    clone_body(ops, into, values)
    return values.get(end.operands[0], end.operands[0])
