"""relax_math: arithmetic that may be cheaper and stays within 1.5 units in the last place is marked so.

Before (%sum adds up %e = exp(%x - %top), %top being the maximum of %x along the same axis):
    linalg.generic ins(%x, %top) { %d = arith.subf %in, %in_0   %e = math.exp %d : f32 }
    linalg.generic ins(%e, %sum) { %q = arith.divf %in, %in_0 : f32 }
    linalg.generic ins(%y) { %r = arith.divf %in, %cst_3 : f32 }
After:
    %e = math.exp %d fastmath<afn>    %q = arith.divf %in, %in_0 fastmath<arcp>    %r = arith.divf %in, %cst_3 fastmath<arcp>

`arcp`: a division takes as long as twenty multiply-adds, and may be a product with the reciprocal. That is wrong where the
reciprocal overflows or is subnormal, so the divisor must be a constant that is neither; or the sum of a softmax, which has a
term exp(0) and is at least 1, or is NaN, as are all quotients then; or a square root, as of variances, which is between 2^-75
and 2^64, or 0, infinity or NaN, where the product is the same. A quotient that is rounded to an integer must be exact,
as it may lie half-way: that by a constant becomes a product and two fused corrections, which round to the same number
(P. Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", 1990, theorem 8.4; it leaves
out divisors whose significand is all ones), unless only an error function or the like reads it, or the dividend is such a
function's result; where division is slow, also one by a scale that is known only at run time. Only quotients near the smallest
numbers may differ, and these round to 0. One by a root must be read by further arithmetic only.

`afn` (see `expand_math`): an exponential of at most 0 may have 0 for results below 2.5e-38, and be less exact for tiny ones;
beside a term of 1, or divided by the sum, they do not count. An error function or hyperbolic tangent to which 1 is added, as in
GELU, need only be right to some units in the last place of 1. `nnan`: the maximum may overlook NaN; the sum does not.

`contract`: a product is not rounded before something is added, where only such a function, and a product with what is made of
it, read the sum (a bias before GELU).
"""

from __future__ import annotations

import math

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith
from torch_mlir.dialects import math as mlir_math

from sparsec.ir.module import block_walk, find, replace, users
from sparsec.kernels.isa import Isa
from sparsec.passes.access import RESHAPES, parallel_loops
from sparsec.passes.unit import Unit

_ROUNDINGS = ("math.roundeven", "math.round", "math.floor", "math.ceil", "math.trunc", "arith.fptosi", "arith.fptoui")
_BOUNDED = ("math.erf", "math.tanh")  # a unit in the last place of what they read is less than their own error
_CARRIERS = ("arith.addf", "arith.mulf", "arith.subf")  # ops whose results are no more exact than what they read
_ALL_ONES = 1 - 2.0**-24  # the significand of float32 that is all ones, between 0.5 and 1
_LARGEST_EXPONENT = 125  # of a divisor, up or down, that has a normal reciprocal
_FAR = 2.0**64  # a larger divisor, or one below the reciprocal, is scaled


def relax_math(unit: Unit) -> None:
    """Mark divisions and exponentials of generics on tensors."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == "linalg.generic"):
            for inner in block_walk(op):
                if inner.name in _BOUNDED and all(_adds_one(reader, inner) for reader in users(inner.results[0])):
                    _mark(inner, "afn")
                    _contract(_unscaled(inner.operands[0]))
            for division in [inner for inner in block_walk(op) if inner.name == "arith.divf"]:
                exponential = _softmax_exponential(_source(division.operands[1], op))
                if exponential is not None:
                    _mark(exponential.operation, "afn")
                constant = _has_reciprocal(division.operands[1])
                exact = _is_rounded(op) and _stays_exact(division) and not _is_approximate(division.operands[0])
                if exponential is not None or _is_by_root(division) or (constant and not exact):
                    _mark(division, "arcp")
                elif constant and unit.isa.fuses:
                    _multiply_exactly(division)
                elif _divides_slowly(unit.isa) and _is_shared(division.operands[1], op) and _is_rounded(op):
                    _multiply_by_reciprocal(division)


def _mark(op: ir.Operation, flag: str) -> None:
    op.attributes["fastmath"] = ir.Attribute.parse(f"#arith.fastmath<{flag}>")


def _unscaled(value: ir.Value) -> ir.Value:
    """x if the value is x times or divided by a constant."""
    op = _made_by(value, "arith.mulf", "arith.divf")
    return op.operands[0] if op is not None and _scales_by_constant(op) else value


def _contract(value: ir.Value) -> None:
    """Mark a sum, and the product in it, if whatever reads the sum is approximate."""
    total = _made_by(value, "arith.addf")
    if total is None or not all(_reads_roughly(reader) for reader in users(value)):
        return
    products = [_made_by(operand, "arith.mulf") for operand in total.operands]
    alone = [each for each in products if each is not None and len(users(each.results[0])) == 1]
    for op in (total, *alone[:1]) if alone else ():
        _mark(op, "contract")


def _made_by(value: ir.Value, *names: str) -> ir.Operation | None:
    """The op of `value` if it is one of these."""
    if isinstance(value.owner, ir.Block) or value.owner.operation.name not in names:
        return None
    return value.owner.operation


def _reads_roughly(reader: ir.Operation) -> bool:
    """Whether an op is an approximate function, scales the argument of one, or multiplies by what is made of one."""
    if _scales_by_constant(reader):
        return all(_is_function(after) for after in users(reader.results[0]))
    return _is_function(reader) or (reader.name == "arith.mulf" and any(map(_is_approximate, reader.operands)))


def _scales_by_constant(op: ir.Operation) -> bool:
    return op.name in ("arith.mulf", "arith.divf") and _constant(op.operands[1]) is not None


def _is_function(op: ir.Operation) -> bool:
    return op.name in _BOUNDED and "afn" in str(op.attributes["fastmath"])


def _is_by_root(division: ir.Operation) -> bool:
    """Whether a number is divided by a square root, and only arithmetic that rounds again reads the quotient."""
    readers = users(division.results[0])
    return _made_by(division.operands[1], "math.sqrt") is not None and all(each.name in _CARRIERS for each in readers)


def _divides_slowly(isa: Isa) -> bool:
    """True where 16 divisions take ten cycles, as on Intel, whose servers have tile registers; on AMD it is two and a half."""
    return isa.tile_registers and isa.fuses


def _adds_one(reader: ir.Operation, summand: ir.Operation) -> bool:
    """True if `reader` adds a constant of at least 1 to a value."""
    if reader.name != "arith.addf":
        return False
    others = [operand for operand in reader.operands if operand != summand.results[0]]
    return len(others) == 1 and abs(_constant(others[0]) or 0.0) >= 1


def _constant(value: ir.Value) -> float | None:
    """The number that a value is known to be."""
    if isinstance(value.owner, ir.Block) or value.owner.operation.name != "arith.constant":
        return None
    return float(ir.FloatAttr(value.owner.operation.attributes["value"]).value)


def _has_reciprocal(divisor: ir.Value) -> bool:
    """True for a constant whose reciprocal is a normal number."""
    number = _constant(divisor)
    if number is None:
        return False
    return math.isfinite(number) and number != 0 and abs(math.frexp(number)[1]) < _LARGEST_EXPONENT


def _multiply_exactly(division: ir.Operation) -> None:
    """Replace x / c by the same number without a division: q = x r with r = 1 / c, then q + r (x - q c)."""
    x, divisor = division.operands
    number = np.float32(ir.FloatAttr(divisor.owner.operation.attributes["value"]).value)
    if str(x.type) != "f32" or math.frexp(abs(float(number)))[0] >= _ALL_ONES:
        return
    with division.location, ir.InsertionPoint(division):
        reciprocal = arith.constant(x.type, float(np.float32(1) / number))
        result = _corrected(x, divisor, reciprocal)
    replace(division, [result])


def _multiply_by_reciprocal(division: ir.Operation) -> None:
    """The same where the divisor is known only at run time: it is brought near 1 first, and x with it, by a power of two.

    Loops compute what depends on the divisor alone once. One whose significand is all ones is no exception here, as its
    reciprocal is rounded once from the true one: of all quotients by it, that of a power of two is the closest to the
    middle between two numbers, and comes out on the right side of it by 2**-71.
    """
    x, divisor = division.operands
    if str(x.type) != "f32":
        return
    with division.location, ir.InsertionPoint(division):
        size = mlir_math.absf(divisor)
        one, up, down = (arith.constant(x.type, number) for number in (1.0, _FAR, 1 / _FAR))
        small = arith.cmpf(arith.CmpFPredicate.OLT, size, down)
        large = arith.cmpf(arith.CmpFPredicate.OGT, size, up)
        factor = arith.select(small, up, arith.select(large, down, one))
        near, dividend = arith.mulf(divisor, factor), arith.mulf(x, factor)
        result = _corrected(dividend, near, arith.divf(one, near))
    replace(division, [result])


def _corrected(x: ir.Value, divisor: ir.Value, reciprocal: ir.Value) -> ir.Value:
    """x / divisor, rounded once, of a divisor and a reciprocal that are normal numbers."""
    quotient = arith.mulf(x, reciprocal)
    error = mlir_math.fma(arith.negf(quotient), divisor, x)
    better = mlir_math.fma(error, reciprocal, quotient)
    finite = arith.cmpf(arith.CmpFPredicate.ORD, better, better)  # infinity less infinity is NaN
    return arith.select(finite, better, quotient)


def _is_shared(value: ir.Value, generic: ir.Operation) -> bool:
    """True if a value of the body is the one element of an operand, and the generic has more results than that."""
    source = _source(value, generic)
    if source is None or not isinstance(source.type, ir.RankedTensorType):
        return False
    shapes = [ir.RankedTensorType(each.type).shape for each in (source, generic.results[0])]
    return bool(math.prod(shapes[0]) == 1 < math.prod(shapes[1]))


def _is_rounded(generic: ir.Operation) -> bool:
    """True if the generic rounds, or may hand its results to one that does."""
    if any(inner.name in _ROUNDINGS for inner in block_walk(generic)):
        return True
    readers = [reader for result in generic.results for reader in users(result)]
    while any(reader.name in RESHAPES for reader in readers):
        readers = [
            after for reader in readers for after in (users(reader.results[0]) if reader.name in RESHAPES else [reader])
        ]
    return any(inner.name in _ROUNDINGS for reader in readers for inner in block_walk(reader))


def _stays_exact(op: ir.Operation) -> bool:
    """True if anything but such a function reads the result of `op`."""
    return any(reader.name not in _BOUNDED for reader in users(op.results[0]))


def _is_approximate(value: ir.Value) -> bool:
    """True if a value of a body is made of the result of a function that is marked `afn`."""
    if isinstance(value.owner, ir.Block):
        return False
    op = value.owner.operation
    if op.name.startswith("math.") and "afn" in str(op.attributes["fastmath"]):
        return True
    return op.name in _CARRIERS and any(_is_approximate(operand) for operand in op.operands)


def _source(value: ir.Value, generic: ir.Operation) -> ir.Value | None:
    """The operand of a generic whose elements a value of its body is."""
    if not isinstance(value.owner, ir.Block) or value.owner.owner.operation != generic:
        return None
    return generic.operands[ir.BlockArgument(value).arg_number]


def _origin(value: ir.Value) -> ir.Value:
    """The tensor before axes of length 1 came or went."""
    while not isinstance(value.owner, ir.Block) and value.owner.operation.name in RESHAPES:
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


def _reduction(value: ir.Value | None, name: str) -> ir.Operation | None:
    """The generic with whose op `name` a tensor is reduced to `value`, through a narrowing of the result."""
    generic = _producer(value)
    while generic is not None and all(parallel_loops(generic)) and len(generic.operands) > 1:
        *_, end = [item.operation for item in generic.regions[0].blocks[0].operations]
        narrowed = end.operands[0].owner
        if isinstance(narrowed, ir.Block) or narrowed.operation.name != "arith.truncf":
            return None
        generic = _producer(generic.operands[0])
    reduces = generic is not None and not all(parallel_loops(generic)) and _computes(generic, name) is not None
    return generic if reduces else None


def _softmax_exponential(value: ir.Value | None) -> ir.Operation | None:
    """The `math.exp` if `value` sums exp(x - max x); the maximum is marked where nothing else reads it."""
    total = _reduction(value, "arith.addf")
    exponentials = _producer(total.operands[0]) if total is not None else None
    exponential = _computes(exponentials, "math.exp")
    if exponentials is None or exponential is None:
        return None
    difference = exponential.operands[0].owner
    if isinstance(difference, ir.Block) or difference.operation.name != "arith.subf":
        return None
    x, top = (_source(operand, exponentials) for operand in difference.operation.operands)
    reduction = _reduction(top, "arith.maximumf")
    if reduction is None or x is None or _origin(reduction.operands[0]) != _origin(x):
        return None
    if _is_read_once(reduction):
        maximum = _computes(reduction, "arith.maximumf")
        assert maximum is not None
        _mark(maximum, "nnan")
    return exponential


def _is_read_once(op: ir.Operation) -> bool:
    """True if one op reads the result, be it after axes of length 1 came or went."""
    readers = users(op.results[0])
    while len(readers) == 1 and readers[0].name in RESHAPES:
        readers = users(readers[0].results[0])
    return len(readers) == 1
