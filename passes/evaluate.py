"""Evaluates an epilogue on NumPy arrays, for passes that compute at compile time what a network would compute at run time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.kernels.epilogue import Epilogue

Array = NDArray[np.generic]

_erf = np.vectorize(math.erf, otypes=[np.float32])


def fused_multiply_add(a: Array | np.generic, b: Array | np.generic, c: Array | np.generic) -> Array:
    """a * b + c of float32, rounded once.

    The product is exact in float64. If the sum is not, it is rounded to odd there, which keeps the second rounding right
    (S. Boldo and G. Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
    """
    with np.errstate(all="ignore"):
        product, addend = np.asarray(a, np.float64) * np.asarray(b, np.float64), np.asarray(c, np.float64)
        total = np.asarray(product + addend)
        back = total - product
        error = (product - (total - back)) + (addend - back)
        even = (total.view(np.int64) & 1 == 0) & (error != 0) & np.isfinite(total)
        odd = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
        return np.where(even, odd, total).astype(np.float32)


def _unordered(compare: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda a, b: compare(a, b) | np.isnan(a) | np.isnan(b)


# arith.cmpf predicates by number: ordered ones are false on NaN, unordered ones true.
_COMPARE: Mapping[int, Callable[[Array, Array], Array]] = {
    1: np.equal,
    2: np.greater,
    3: np.greater_equal,
    4: np.less,
    5: np.less_equal,
    7: lambda a, b: ~(np.isnan(a) | np.isnan(b)),
    8: _unordered(np.equal),
    9: _unordered(np.greater),
    10: _unordered(np.greater_equal),
    11: _unordered(np.less),
    12: _unordered(np.less_equal),
    13: np.not_equal,
}

_FUNCTIONS: Mapping[str, Callable[..., Array]] = {
    "arith.addf": np.add,
    "arith.subf": np.subtract,
    "arith.mulf": np.multiply,
    "arith.divf": np.divide,
    "arith.negf": np.negative,
    "arith.maximumf": np.maximum,
    "arith.minimumf": np.minimum,
    "arith.maxnumf": np.fmax,
    "arith.minnumf": np.fmin,
    "arith.select": np.where,
    "arith.addi": np.add,
    "arith.subi": np.subtract,
    "arith.muli": np.multiply,
    "arith.xori": np.bitwise_xor,
    "math.absf": np.abs,
    "math.roundeven": np.rint,
    "math.exp": np.exp,
    "math.fma": fused_multiply_add,
    "math.erf": _erf,
    "math.tanh": np.tanh,
    "math.sqrt": np.sqrt,
}


_NUMPY: Mapping[str, type[np.generic]] = {"f32": np.float32, "i32": np.int32, "i8": np.int8}
_CONVERSIONS = ("arith.sitofp", "arith.fptosi", "arith.fptoui", "arith.trunci", "arith.extsi")
_UNSIGNED: Mapping[str, type[np.generic]] = {"int8": np.uint8, "int32": np.uint32}


def _converted(op: ir.Operation, x: Array) -> Array | None:
    """A conversion between numbers; integers wrap."""
    to = _NUMPY.get(str(op.results[0].type))
    if to is None:
        return None
    if op.name in ("arith.uitofp", "arith.extui"):
        return x.view(_UNSIGNED[str(x.dtype)]).astype(to)
    if op.name.startswith("arith.fpto"):
        return x.astype(np.int64).astype(to)
    return x.astype(to)


def evaluate(epilogue: Epilogue, total: Array, operands: Sequence[Array], context: ir.Context) -> Array | None:
    """Apply `epilogue` to arrays that broadcast together; None if it holds an op that is not known here.

    Integers are signed arrays, whatever an op reads them as.
    """
    parsed = ir.Module.parse(epilogue.source, context)
    block = parsed.body.operations[0].regions[0].blocks[0]
    values: dict[ir.Value, Array] = dict(zip(block.arguments, [total, *operands], strict=True))
    with np.errstate(all="ignore"):
        for item in block.operations:
            op = item.operation
            arguments = [values[operand] for operand in op.operands]
            if op.name == "func.return":
                return arguments[0]
            result = _apply(op, arguments)
            if result is None:
                return None
            values[op.results[0]] = result
    raise AssertionError("an epilogue ends in func.return")


def _apply(op: ir.Operation, arguments: Sequence[Array]) -> Array | None:
    if op.name == "arith.constant":
        attribute, to = op.attributes["value"], _NUMPY.get(str(op.results[0].type))
        return np.asarray(attribute.value, to) if to is not None else None
    if op.name == "arith.cmpf":
        compare = _COMPARE.get(ir.IntegerAttr(op.attributes["predicate"]).value)
        return compare(*arguments) if compare is not None else None
    if op.name in (*_CONVERSIONS, "arith.uitofp", "arith.extui"):
        return _converted(op, arguments[0])
    function = _FUNCTIONS.get(op.name)
    if function is None:
        return None
    result = function(*arguments)
    return result.astype(np.float32) if result.dtype == np.float64 else result
