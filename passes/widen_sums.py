"""widen_sums: long float32 sums are accumulated in float64.

Before (25,600 terms):
    %s = linalg.generic {iterator_types = [parallel, reduction]} ins(%x) outs(%zero : tensor<8xf32>) {
    ^bb0(%in: f32, %out: f32): %0 = arith.addf %in, %out : f32   linalg.yield %0 }
After:
    %wide = linalg.generic {...} outs(%zero64 : tensor<8xf64>) { %1 = arith.extf %in   %0 = arith.addf %1, %out : f64   ... }
    %s = linalg.generic ins(%wide) outs(...) { arith.truncf }

A sum of n equal terms loses up to n/2 units in the last place in one float32 accumulator, all in the same direction; libraries avoid
it with trees of partial sums (Higham, "The accuracy of floating point summation", 1993), which loops do not have.
"""

from __future__ import annotations

import math

from torch_mlir import ir

from sparsec.ir.module import element_of, find, replace, shape_of
from sparsec.passes.access import parallel_loops, trip_counts
from sparsec.passes.elementwise import mapped
from sparsec.passes.layer import clone_body
from sparsec.passes.unit import Unit

LONG = 1024  # terms; below, one accumulator per vector lane is good enough


def widen_sums(unit: Unit) -> None:
    """Widen every `linalg.generic` that adds up more than `LONG` float32 terms per element of its result."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, _is_long_sum):
            with op.location:
                _widen(op)


def _is_long_sum(op: ir.Operation) -> bool:
    if op.name != "linalg.generic" or len(op.results) != 1 or "library_call" in op.attributes:
        return False
    if str(element_of(op.results[0])) != "f32":
        return False
    body = op.regions[0].blocks[0]
    destination = body.arguments[len(body.arguments) - 1]
    last = list(body.operations)[-1].operation.operands[0].owner
    uses = [use.owner.operation for use in destination.uses]
    if isinstance(last, ir.Block) or last.operation.name != "arith.addf" or uses != [last.operation]:
        return False
    summed = zip(trip_counts(op), parallel_loops(op), strict=True)
    return math.prod(count for count, parallel in summed if not parallel) > LONG


def _widen(op: ir.Operation) -> None:
    f64, result = ir.F64Type.get(), op.results[0]
    wide = ir.RankedTensorType.get(shape_of(result), f64)
    start = op.operands[len(op.operands) - 1]
    ip = ir.InsertionPoint(op)
    begin = _converted("arith.extf", start, wide, ip)
    attributes = {name: op.attributes[name] for name in op.attributes}
    inputs = list(op.operands)[:-1]
    total = ir.Operation.create(
        "linalg.generic", results=[wide], operands=[*inputs, begin], attributes=attributes, regions=1, ip=ip
    )
    _fill_body(op, total, f64)
    narrow = _converted("arith.truncf", total.results[0], result.type, ip)
    replace(op, [narrow])


def _fill_body(op: ir.Operation, total: ir.Operation, f64: ir.Type) -> None:
    """The old body, its last addition in float64."""
    old = op.regions[0].blocks[0]
    *arguments, destination = old.arguments
    types = [*(argument.type for argument in arguments), f64]
    block = total.regions[0].blocks.append(*types, arg_locs=[op.location] * len(types))
    *ops, _ = [item.operation for item in old.operations]
    last = next(use.owner.operation for use in destination.uses)
    values: dict[ir.Value, ir.Value] = dict(zip(arguments, list(block.arguments)[:-1], strict=True))
    clone_body([item for item in ops if item != last], block, values)
    term = last.operands[0] if last.operands[1] == destination else last.operands[1]
    ip = ir.InsertionPoint(block)
    long = ir.Operation.create("arith.extf", results=[f64], operands=[values.get(term, term)], ip=ip).results[0]
    added = ir.Operation.create("arith.addf", results=[f64], operands=[long, block.arguments[len(arguments)]], ip=ip)
    ir.Operation.create("linalg.yield", operands=[added.results[0]], ip=ip)


def _converted(name: str, value: ir.Value, type_: ir.Type, ip: ir.InsertionPoint) -> ir.Value:
    """A generic that applies one conversion to each element."""

    def element(x: ir.Value, inside: ir.InsertionPoint) -> ir.Value:
        result = ir.ShapedType(type_).element_type
        return ir.Operation.create(name, results=[result], operands=[x], ip=inside).results[0]

    return mapped(value, type_, element, ip)
