"""shorten_round_trips: a whole number that becomes a code of 8 bit and a number again is that number.

Before:
    %1 = arith.select %high, 255.0, %0 : f32     (clamped to 0 … 255, and rounded before)
    %2 = arith.fptosi %1 : f32 to i32   %3 = arith.trunci %2 : i32 to i8   %4 = arith.uitofp %3 : i8 to f32   ... %4 ...
After:
    ... %1 ...

Where a zero point was added before and is taken off again, the number is clamped without it.

Quantised graphs quantise and dequantise between operators that end up in one body; the conversions would cost as much as the rest.
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.module import block_walk, find, replace, users
from sparsec.passes.codes import clamped, constant, operation
from sparsec.passes.unit import Unit

_RANGES = {"arith.uitofp": (0.0, 255.0), "arith.sitofp": (-128.0, 127.0)}


def shorten_round_trips(unit: Unit) -> None:
    """Read the clamped, rounded number itself in every `linalg.generic`."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name in _RANGES):
            _shorten(op)
        for generic in find(unit.module, lambda op: op.name == "linalg.generic"):
            _erase_unread(generic)


def _shorten(op: ir.Operation) -> None:
    narrow = operation(op.operands[0], "arith.trunci")
    whole = operation(narrow.operands[0], "arith.fptosi") if narrow is not None else None
    if narrow is None or whole is None or str(op.operands[0].type) != "i8":
        return
    number = whole.operands[0]
    if number.type == op.results[0].type and _is_whole_within(number, *_RANGES[op.name]):
        _read_unmoved(op, number, *_RANGES[op.name])
        if users(op.results[0]):
            op.results[0].replace_all_uses_with(_without_sign_of_zero(number, op))


def _erase_unread(generic: ir.Operation) -> None:
    """Erase ops of a body that nobody reads, from the last to the first."""
    for inner in reversed(list(block_walk(generic))):
        if inner.name.startswith(("arith.", "math.")) and not any(users(result) for result in inner.results):
            inner.erase()


def _read_unmoved(op: ir.Operation, number: ir.Value, low: float, high: float) -> None:
    """Let who takes the zero point off the result of `op` read the rounded number, clamped as far from its own zero."""
    inner = _inner(number, low, high)
    moved = operation(inner, "arith.addf") if inner is not None else None
    zero = constant(moved.operands[1]) if moved is not None else None
    if moved is None or zero is None:
        return
    for reader in users(op.results[0]):
        if reader.name == "arith.subf" and reader.operands[0] == op.results[0] and constant(reader.operands[1]) == zero:
            with reader.location, ir.InsertionPoint(reader):
                value = clamped(moved.operands[0], low - zero, high - zero)
            replace(reader, [_without_sign_of_zero(value, reader)])


def _without_sign_of_zero(value: ir.Value, at: ir.Operation) -> ir.Value:
    """Codes have no -0, by which something might divide; the sum with 0 is +0."""
    zero = ir.Operation.create(
        "arith.constant",
        results=[value.type],
        attributes={"value": ir.FloatAttr.get(value.type, 0.0)},
        ip=ir.InsertionPoint(at),
    )
    return ir.Operation.create(
        "arith.addf", results=[value.type], operands=[value, zero.results[0]], ip=ir.InsertionPoint(at)
    ).results[0]


def _is_whole_within(value: ir.Value, low: float, high: float) -> bool:
    """Whether `value` is clamped, first from below, then from above, and was rounded, perhaps moved by a whole number."""
    inner = _inner(value, low, high)
    if inner is None:
        return False
    moved = operation(inner, "arith.addf")
    if moved is not None and (constant(moved.operands[1]) or 0.5).is_integer():
        inner = moved.operands[0]
    return operation(inner, "math.roundeven") is not None


def _inner(value: ir.Value, low: float, high: float) -> ir.Value | None:
    """What `value` is clamped of, first from below, then from above."""
    below = _clamped(value, high)
    return _clamped(below, low) if below is not None else None


def _clamped(value: ir.Value, bound: float) -> ir.Value | None:
    """x of `select(compare(x, bound), bound, x)`."""
    select = operation(value, "arith.select")
    if select is None or constant(select.operands[1]) != bound:
        return None
    compare = operation(select.operands[0], "arith.cmpf")
    x = select.operands[2]
    compared = compare is not None and compare.operands[0] == x and constant(compare.operands[1]) == bound
    return x if compared else None
