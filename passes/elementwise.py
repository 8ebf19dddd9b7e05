"""Element-wise ops on tensors, built one element at a time."""

from __future__ import annotations

from collections.abc import Callable

from torch_mlir import ir

from sparsec.ir.module import element_of, shape_of

Element = Callable[[ir.Value, ir.InsertionPoint], ir.Value]


def mapped(value: ir.Value, type_: ir.Type, element: Element, ip: ir.InsertionPoint) -> ir.Value:
    """A generic at the current location: `element(x, inside)` builds the element of the result for each x of `value`."""
    rank = len(shape_of(value))
    identity = ir.AffineMapAttr.get(ir.AffineMap.get_identity(rank))
    parallel = ir.Attribute.parse("#linalg.iterator_type<parallel>")
    generic = ir.Operation.create(
        "linalg.generic",
        results=[type_],
        operands=[value, empty(type_, ip)],
        attributes={
            "indexing_maps": ir.ArrayAttr.get([identity, identity]),
            "iterator_types": ir.ArrayAttr.get([parallel] * rank),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 1]),
        },
        regions=1,
        ip=ip,
    )
    types = [element_of(value), ir.ShapedType(type_).element_type]
    block = generic.regions[0].blocks.append(*types, arg_locs=[ir.Location.current] * 2)
    inside = ir.InsertionPoint(block)
    ir.Operation.create("linalg.yield", operands=[element(block.arguments[0], inside)], ip=inside)
    return generic.results[0]


def empty(type_: ir.Type, ip: ir.InsertionPoint) -> ir.Value:
    """A tensor without contents."""
    return ir.Operation.create("tensor.empty", results=[type_], ip=ip).results[0]
