"""relax_softmax: the quotients of a softmax may be products with the reciprocal of their row's sum.

Before (%sum adds up %e = exp(%x - %top), %top being the maximum of %x along the same axis):
    linalg.generic ins(%e, %sum) { %q = arith.divf %in, %in_0 : f32 }
After:
    linalg.generic ins(%e, %sum) { %q = arith.divf %in, %in_0 fastmath<arcp> : f32 }

A division takes as long as twenty multiply-adds, and there is one per element. For any divisor the product would be
wrong, as the reciprocal of a small one overflows; this sum has a term exp(0) and is at least 1, or it is NaN, as are all
quotients then. The product is within 1.5 units in the last place.
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.module import block_walk, find
from sparsec.passes.access import parallel_loops
from sparsec.passes.unit import Unit

_RESHAPES = ("tensor.expand_shape", "tensor.collapse_shape")


def relax_softmax(unit: Unit) -> None:
    """Mark the divisions of every softmax in linalg form."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == "linalg.generic"):
            for inner in block_walk(op):
                if inner.name == "arith.divf" and _is_sum_of_exponentials(_source(inner.operands[1], op)):
                    inner.attributes["fastmath"] = ir.Attribute.parse("#arith.fastmath<arcp>")


def _source(value: ir.Value, generic: ir.Operation) -> ir.Value | None:
    """The operand of a generic whose elements a value of its body is."""
    if not isinstance(value.owner, ir.Block) or value.owner.owner.operation != generic:
        return None
    return generic.operands[ir.BlockArgument(value).arg_number]


def _origin(value: ir.Value) -> ir.Value:
    """The tensor before axes of length 1 came or went."""
    while not isinstance(value.owner, ir.Block) and value.owner.operation.name in _RESHAPES:
        value = value.owner.operation.operands[0]
    return value


def _producer(value: ir.Value | None) -> ir.Operation | None:
    """The generic that makes a tensor."""
    owner = _origin(value).owner if value is not None else None
    if owner is None or isinstance(owner, ir.Block) or owner.operation.name != "linalg.generic":
        return None
    return owner.operation


def _computes(generic: ir.Operation | None, name: str) -> ir.Operation | None:
    """The op `name` that gives the result of a generic, conversions apart."""
    if generic is None:
        return None
    *_, end = [item.operation for item in generic.regions[0].blocks[0].operations]
    value = end.operands[0]
    while not isinstance(value.owner, ir.Block):
        op = value.owner.operation
        if op.name == name:
            return op
        if op.name not in ("arith.extf", "arith.truncf"):
            return None
        value = op.operands[0]
    return None


def _reduced(value: ir.Value | None, name: str) -> ir.Value | None:
    """The tensor that `value` reduces with `name`, through a narrowing of the result."""
    generic = _producer(value)
    while generic is not None and all(parallel_loops(generic)) and len(generic.operands) > 1:
        *_, end = [item.operation for item in generic.regions[0].blocks[0].operations]
        narrowed = end.operands[0].owner
        if isinstance(narrowed, ir.Block) or narrowed.operation.name != "arith.truncf":
            return None
        generic = _producer(generic.operands[0])
    if generic is None or all(parallel_loops(generic)) or _computes(generic, name) is None:
        return None
    return generic.operands[0]


def _is_sum_of_exponentials(value: ir.Value | None) -> bool:
    """True if `value` sums exp(x - max x)."""
    exponentials = _producer(_reduced(value, "arith.addf"))
    exponential = _computes(exponentials, "math.exp")
    if exponentials is None or exponential is None:
        return False
    difference = exponential.operands[0].owner
    if isinstance(difference, ir.Block) or difference.operation.name != "arith.subf":
        return False
    x, top = (_source(operand, exponentials) for operand in difference.operation.operands)
    reduced = _reduced(top, "arith.maximumf")
    return reduced is not None and x is not None and _origin(reduced) == _origin(x)
