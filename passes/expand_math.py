"""Replace the elementary functions of the `math` dialect by arithmetic that LLVM vectorises.

Before:

    %r = math.rsqrt %x : f32

after:

    %one = arith.constant 1.000000e+00 : f32        (at the start of the function)
    %0 = math.sqrt %x fastmath<contract> : f32
    %r = arith.divf %one, %0 fastmath<contract> : f32

Covered: exp, exp2, expm1, log, log2, log10, log1p, sin, cos, tan, sinh, cosh, tanh, the inverses of these six, atan2,
erf, pow, cbrt and rsqrt on scalars and vectors of f32; f16 and bf16 go through f32. Results are within 2 ulp (within 4
for powers from -3 to 4 in halves, which become roots and products), with NaN, infinities, signed zeros and subnormals
as in C; of fpowi, vectors. Left alone: what is an instruction already (sqrt, fma, absf, copysign, rounding), erfc, and all f64 but
rsqrt and the powers named; `convert-math-to-libm` makes calls of those. Where roundeven is no instruction (x86 before
SSE4.1), sin, cos, tan and pow still call it.

Marked `fastmath<afn>`, exp is of a number that is at most 0, may give 0 instead of less than 2.5e-38, and loses an ulp
for every 2^-31 that it is below 1; erf and tanh are within 6e-7 instead; where
registers can hold tables, all three look polynomials up there; the last two take constant factors around them in, and
the gates that they close where only codes are made of what these let through; exp is within 2^-12 there if it is only
rounded to bfloat16.

Fast-math flags: every float operation made here carries `fastmath<contract>`, whatever the flags of the operation it
replaces, and must get no others: `reassoc` breaks the rounding and the compensated sums, `nnan` and `ninf` the
limits. The rule for passes that add flags later: an operation whose flags are not `none` is decided; leave it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest

from torch_mlir import ir

from sparsec.ir.expr import Builder, Expr
from sparsec.ir.module import users
from sparsec.kernels.words import ROUNDS
from sparsec.passes.math import double, exponential, logarithm, lookup, power, trigonometric
from sparsec.passes.math.gated import Gate, factored

FUNCTIONS: Mapping[str, Callable[..., Expr]] = {
    "math.acos": trigonometric.acos,
    "math.acosh": double.acosh,
    "math.asin": trigonometric.asin,
    "math.asinh": double.asinh,
    "math.atan": trigonometric.atan,
    "math.atan2": trigonometric.atan2,
    "math.atanh": double.atanh,
    "math.cbrt": double.cbrt,
    "math.cos": trigonometric.cos,
    "math.cosh": double.cosh,
    "math.erf": exponential.erf,
    "math.exp": exponential.exp,
    "math.exp2": exponential.exp2,
    "math.expm1": exponential.expm1,
    "math.log": logarithm.log,
    "math.log10": logarithm.log10,
    "math.log1p": logarithm.log1p,
    "math.log2": logarithm.log2,
    "math.powf": double.power,
    "math.rsqrt": power.rsqrt,
    "math.sin": trigonometric.sin,
    "math.sinh": double.sinh,
    "math.tan": trigonometric.tan,
    "math.tanh": exponential.tanh,
}

APPROXIMATIONS: Mapping[str, Callable[[Expr], Expr]] = {
    "math.erf": exponential.erf_beside_one,
    "math.exp": exponential.exp_falling,
}

_WHOLE_POWER = "math.fpowi"
_ELEMENTS = frozenset({"f16", "bf16", "f32", "f64"})


def expand_math(module: ir.Module, *, looks_up: bool = False) -> None:
    """Expand the `math` operations of `module` in place; one without any is not changed.

    `looks_up` says that the processor picks from tables in registers (AVX-512).
    """
    for top in _functions(module.operation):
        found: list[list[ir.Operation]] = []
        seen: list[ir.Operation] = []

        def collect(
            op: ir.Operation, found: list[list[ir.Operation]] = found, seen: list[ir.Operation] = seen
        ) -> ir.WalkResult:
            if _is_covered(op):
                if seen and found and found[-1][-1] == seen[0] and _is_alike(op, found[-1]):
                    found[-1].append(op)
                else:
                    found.append([op])
            seen[:] = [op]
            return ir.WalkResult.ADVANCE

        top.operation.walk(collect)
        if found:
            with top.location:  # vector types are only built where there is a location
                _expand(top.operation, found, looks_up=looks_up)


def _is_covered(op: ir.Operation) -> bool:
    """Whether `op` is expanded; LLVM has whole powers of scalars, and none of vectors."""
    whole = op.name == _WHOLE_POWER and isinstance(op.result.type, ir.VectorType)
    return (whole or op.name in FUNCTIONS) and _element(op.result.type) in _ELEMENTS


def _is_alike(op: ir.Operation, run: list[ir.Operation]) -> bool:
    """Whether `op` is the function that those before it in the same block are, and reads none of their results."""
    alike = op.name == run[0].name and op.block == run[0].block and op.result.type == run[0].result.type
    return alike and not any(other.result in list(op.operands) for other in run)


def _functions(module: ir.Operation) -> Iterator[ir.OpView]:
    """Top-level ops, also of modules inside the module."""
    for op in module.regions[0].blocks[0].operations:
        if op.operation.name == "builtin.module":
            yield from _functions(op.operation)
        else:
            yield op


def _element(type_: ir.Type) -> str:
    """The element type of a scalar or vector; tensors are for later passes and have none here."""
    if isinstance(type_, ir.RankedTensorType):
        return ""
    return str(type_.element_type if isinstance(type_, ir.VectorType) else type_)


def _expand(top: ir.Operation, found: list[list[ir.Operation]], *, looks_up: bool) -> None:
    """Expand the operations `found` inside `top`, whose first block dominates them all and takes the constants."""
    builder = Builder(ir.InsertionPoint(top), top.location, constants=top.regions[0].blocks[0])
    for run in found:
        made: list[list[ir.Operation]] = []
        replaced: list[ir.Operation] = []
        for op in run:
            builder.at(ir.InsertionPoint(op), op.location)
            result = _looked_up(builder, op) if looks_up else None
            result = _result(builder, op) if result is None else result
            made.append(builder.taken())
            if result is not None:
                op.result.replace_all_uses_with(result.value)
                replaced.append(op)
        for step in zip_longest(*made):
            for each in filter(None, step):
                each.move_before(run[-1])
        for op in replaced:
            op.erase()


def _looked_up(builder: Builder, op: ir.Operation) -> Expr | None:
    """An approximation from tables in registers, where there is one."""
    if not lookup.is_covered(op.result.type) or not _is_approximate(op):
        return None
    if op.name == "math.exp":
        return lookup.exp_falling(builder.wrap(op.operands[0]), rounded=_is_rounded(op))
    if op.name not in lookup.FUNCTIONS:
        return None
    (argument, factor), gate = factored(op.operands[0]), Gate.of(op)
    if gate is None:
        return lookup.odd(op.name, builder.wrap(argument), factor)
    gate.fold(builder)
    if gate.closes(argument) and gate.is_rounded():
        product = lookup.closing(op.name, builder.wrap(argument), factor, gate.factor)
        gate.replace(product.value)
        return product
    return lookup.odd(op.name, builder.wrap(argument), factor, gate.factor, keeps_nan=not gate.reads(argument))


def _is_approximate(op: ir.Operation) -> bool:
    return "afn" in str(op.attributes["fastmath"])


def _is_rounded(op: ir.Operation) -> bool:
    """Whether the result is rounded to bfloat16, and nothing else is made of it."""
    return all(
        user.name == "llvm.call_intrinsic" and ROUNDS in ir.StringAttr(user.attributes["intrin"]).value
        for user in users(op.result)
    )


def _result(builder: Builder, op: ir.Operation) -> Expr | None:
    """What replaces `op`; None where it stays."""
    arguments = [builder.wrap(operand) for operand in op.operands]
    element = _element(op.result.type)
    exponent = power.constant_number(op.operands[1]) if op.name in ("math.powf", _WHOLE_POWER) else None
    exact = exponent if exponent in power.EXACT else None
    if element == "f64" and exact is None and op.name != "math.rsqrt":
        return None
    if element in ("f16", "bf16") or (op.name == _WHOLE_POWER and exact is None):
        arguments = [argument.to("f32") for argument in arguments]
    if op.name in APPROXIMATIONS and _is_approximate(op):
        result = APPROXIMATIONS[op.name](*arguments)
    elif exact is not None:
        result = power.by_constant(arguments[0], exact)
    else:
        result = FUNCTIONS["math.powf" if op.name == _WHOLE_POWER else op.name](*arguments)
    return result.to(element)
