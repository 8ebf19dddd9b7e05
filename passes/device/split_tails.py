"""split_tails: what a product on a GPU cannot do before it rounds becomes a loop of its own again.

Before:
    %y = linalg.generic {library_call = "sparsec"} ins(%x, %w) { %a = "sparsec.linear"(%xe, %we)  %b = math.tanh %a  linalg.yield %b }
After:
    %s = linalg.generic {library_call = "sparsec"} ins(%x, %w) { %a = "sparsec.linear"(%xe, %we)  linalg.yield %a }
    %y = linalg.generic ins(%s) { ^bb0(%a): %b = math.tanh %a  linalg.yield %b }
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.module import element_of, replace, shape_of
from sparsec.passes.device.tails import tail_of
from sparsec.passes.elementwise import empty
from sparsec.passes.fuse_epilogue import layer_generic
from sparsec.passes.layer import Layer, clone_body, layers
from sparsec.passes.unit import Unit


def split_tails(unit: Unit) -> None:
    """Split every layer whose tail is none that products have."""
    with unit.module.context, ir.Location.unknown():
        for layer in layers(unit.module):
            if tail_of(layer) is None:
                with layer.op.location:
                    replace(layer.op, [_tail(layer, _bare(layer))])


def _bare(layer: Layer) -> ir.Value:
    """The sums of a layer."""
    op, contraction = layer.op, layer.contraction
    destination = ir.RankedTensorType.get(shape_of(layer.destination), contraction.results[0].type)
    start = empty(destination, ir.InsertionPoint(op))
    maps = [*layer.maps[: layer.arity], layer.maps[-1]]
    bare = layer_generic([*layer.inputs[: layer.arity], start], maps, layer.maps[0].n_dims, op)
    block = bare.regions[0].blocks[0]
    values = dict(zip(list(op.regions[0].blocks[0].arguments)[: layer.arity], block.arguments, strict=False))
    clone_body([contraction], block, values)
    ir.Operation.create("linalg.yield", operands=[values[contraction.results[0]]], ip=ir.InsertionPoint(block))
    return bare.results[0]


def _tail(layer: Layer, sums: ir.Value) -> ir.Value:
    """The rest of a layer's body, of its sums."""
    op, rank = layer.op, len(shape_of(layer.destination))
    extra = layer.inputs[layer.arity :]
    indices = [list(each.results) for each in layer.maps[layer.arity : -1]]
    maps = [ir.AffineMap.get_identity(rank), *(ir.AffineMap.get(rank, 0, each) for each in indices)]
    maps.append(ir.AffineMap.get_identity(rank))
    operands = [sums, *extra, empty(op.results[0].type, ir.InsertionPoint(op))]
    generic = ir.Operation.create(
        "linalg.generic",
        results=[op.results[0].type],
        operands=operands,
        attributes={
            "indexing_maps": ir.ArrayAttr.get([ir.AffineMapAttr.get(each) for each in maps]),
            "iterator_types": ir.ArrayAttr.get([ir.Attribute.parse("#linalg.iterator_type<parallel>")] * rank),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([len(operands) - 1, 1]),
        },
        regions=1,
        ip=ir.InsertionPoint(op),
    )
    elements = [element_of(each) for each in operands]
    block = generic.regions[0].blocks.append(*elements, arg_locs=[op.location] * len(elements))
    old = op.regions[0].blocks[0]
    values = {layer.contraction.results[0]: block.arguments[0]}
    values.update(zip(list(old.arguments)[layer.arity : -1], list(block.arguments)[1:-1], strict=True))
    clone_body([each.operation for each in list(old.operations)[1:]], block, values)
    return generic.results[0]
