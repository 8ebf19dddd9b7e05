"""tabulate_codes: a long function of a code of 8 bit, and of nothing else, becomes a table of its 256 values.

Before (GELU between quantisations, after a layer):
    %y = linalg.generic {...} ins(%sum, %bias) { ... %q = arith.trunci ... : i32 to i8   ... math.erf ...  %r = arith.trunci ... }
After:
    %q = linalg.generic {...} ins(%sum, %bias) { ... %q = arith.trunci ... : i32 to i8   linalg.yield %q }
    %y = linalg.generic {...} ins(%q) { %i = arith.index_castui %q   %r = tensor.extract %table[%i]   linalg.yield %r }

The first part still goes into the layer's kernel. The second is a loop of loads from 256 elements, which stay in the L1 cache.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch_mlir import ir

from sparsec.ir.module import element_of, find, replace, shape_of
from sparsec.ir.weights import weight_op, weight_types
from sparsec.kernels.epilogue import Epilogue
from sparsec.passes.access import parallel_loops
from sparsec.passes.elementwise import empty, mapped
from sparsec.passes.evaluate import Array, evaluate
from sparsec.passes.layer import clone_body, function_text
from sparsec.passes.unit import Unit

# Cycles of a vector of 16 numbers, about: most ops take half of one.
_CYCLES: Mapping[str, float] = {"arith.divf": 8, "math.erf": 30, "math.exp": 15, "math.tanh": 30, "math.log": 20}
_WORTH = 60  # a table takes about half of that for as many numbers


def tabulate_codes(unit: Unit) -> None:
    """Put a table in the place of the end of every element-wise op that is a long function of one code."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, _is_element_wise):
            code = _code_of(op)
            values = _values(op, code) if code is not None else None
            if code is not None and values is not None:
                with op.location:
                    _tabulate(op, code, values, unit)


def _is_element_wise(op: ir.Operation) -> bool:
    if op.name != "linalg.generic" or len(op.results) != 1 or "library_call" in op.attributes:
        return False
    element = str(element_of(op.results[0]))
    return all(parallel_loops(op)) and element in ("f32", "i8") and _is_straight(op)


def _is_straight(op: ir.Operation) -> bool:
    body = op.regions[0].blocks[0]
    ops = [item.operation for item in body.operations]
    return all(item.name.startswith(("arith.", "math.")) or item.name == "linalg.yield" for item in ops)


def _yielded(op: ir.Operation) -> ir.Value:
    return list(op.regions[0].blocks[0].operations)[-1].operation.operands[0]


def _code_of(op: ir.Operation) -> ir.Value | None:
    """The first code of which alone the result is a function that is worth a table."""
    for item in op.regions[0].blocks[0].operations:
        inner = item.operation
        if inner.name == "arith.trunci" and str(inner.results[0].type) == "i8":
            after = _after(op, inner.results[0])
            if after is not None and sum(_CYCLES.get(each.name, 0.5) for each in after) >= _WORTH:
                return inner.results[0]
    return None


def _after(op: ir.Operation, code: ir.Value) -> list[ir.Operation] | None:
    """The ops that lead from `code` to the result, in order; None if that depends on anything else but constants."""
    body = op.regions[0].blocks[0]
    needed, todo = set[ir.Operation](), [_yielded(op)]
    while todo:
        value = todo.pop()
        if value == code:
            continue
        if isinstance(value.owner, ir.Block):
            return None
        source = value.owner.operation
        if source.name != "arith.constant" and source not in needed:
            needed.add(source)
            todo += list(source.operands)
    return [item.operation for item in body.operations if item.operation in needed]


def _values(op: ir.Operation, code: ir.Value) -> Array | None:
    """The result for each code, 0 to 255; None if an op is not known to the evaluator."""
    after = _after(op, code)
    assert after is not None
    text = function_text(after, _yielded(op), [code])
    codes = np.arange(256, dtype=np.uint8).view(np.int8)
    values = evaluate(Epilogue(text, (), "i8", str(element_of(op.results[0]))), codes, (), op.context)
    return np.broadcast_to(values, codes.shape) if values is not None else None


def _tabulate(op: ir.Operation, code: ir.Value, values: Array, unit: Unit) -> None:
    result, body = op.results[0], op.regions[0].blocks[0]
    shape, ip = shape_of(result), ir.InsertionPoint(op)
    codes_type = ir.RankedTensorType.get(shape, ir.IntegerType.get_signless(8))
    attributes = {name: op.attributes[name] for name in op.attributes}
    inputs = [*list(op.operands)[:-1], empty(codes_type, ip)]
    first = ir.Operation.create(
        "linalg.generic", results=[codes_type], operands=inputs, attributes=attributes, regions=1, ip=ip
    )
    types = [element_of(operand) for operand in inputs]
    block = first.regions[0].blocks.append(*types, arg_locs=[op.location] * len(types))
    known: dict[ir.Value, ir.Value] = dict(zip(list(body.arguments)[:-1], list(block.arguments)[:-1], strict=True))
    before = [item.operation for item in body.operations]
    clone_body(before[: before.index(code.owner.operation) + 1], block, known)
    ir.Operation.create("linalg.yield", operands=[known[code]], ip=ir.InsertionPoint(block))
    table = _stored(np.ascontiguousarray(values), ip, op, unit)
    replace(op, [_lookup(first.results[0], table, result.type, ip)])


def _stored(values: Array, ip: ir.InsertionPoint, op: ir.Operation, unit: Unit) -> ir.Value:
    tensor, _ = weight_types(values, op.context)
    return weight_op(unit.weights.add("table", values), tensor, None, loc=op.location, ip=ip)


def _lookup(codes: ir.Value, table: ir.Value, type_: ir.Type, ip: ir.InsertionPoint) -> ir.Value:
    """A generic that reads the element of `table` of each code."""

    def element(code: ir.Value, inside: ir.InsertionPoint) -> ir.Value:
        place = ir.Operation.create("arith.index_castui", results=[ir.IndexType.get()], operands=[code], ip=inside)
        result = ir.ShapedType(type_).element_type
        read = ir.Operation.create("tensor.extract", results=[result], operands=[table, place.results[0]], ip=inside)
        return read.results[0]

    return mapped(codes, type_, element, ip)
