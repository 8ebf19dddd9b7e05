"""Arithmetic on `ir.Value`s written as formulas.

`Builder` fixes where operations go and which fast-math flags they carry; `Expr` is a value with Python's operators:

    b = Builder(ir.InsertionPoint(op), op.location)
    x = b.wrap(op.operands[0])          # f32 or vector<16xf32>: the same formula serves both
    y = (x * 0.5 + 1.0).sqrt()          # numbers become splat constants of x's type
    b.choose(x < 0.0, 0.0, y).value

Scalars and vectors of floats, integers and `index` are covered. Integers are signless: `<`, `>>` and conversions read
them as signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import llvm

Number = int | float

_FLOAT_OPS = {"+": "arith.addf", "-": "arith.subf", "*": "arith.mulf", "/": "arith.divf"}
_INTEGER_OPS = {
    "+": "arith.addi",
    "-": "arith.subi",
    "*": "arith.muli",
    "<<": "arith.shli",
    ">>": "arith.shrsi",
    "&": "arith.andi",
    "|": "arith.ori",
    "^": "arith.xori",
}
_FLOAT_PREDICATES = {
    "==": 1,
    ">": 2,
    ">=": 3,
    "<": 4,
    "<=": 5,
    "!=": 13,
    "unordered": 14,
}  # only the last two hold on NaN
_INTEGER_PREDICATES = {"==": 0, "!=": 1, "<": 2, "<=": 3, ">": 4, ">=": 5}


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A scalar or vector type, its element, whether that is a float, and the element's bits (64 for `index`)."""

    type: ir.Type
    element: ir.Type
    is_float: bool
    bits: int

    @staticmethod
    def of(type_: ir.Type) -> Kind:
        """The kind of a scalar or vector type; `TypeError` for others."""
        element = ir.VectorType(type_).element_type if isinstance(type_, ir.VectorType) else type_
        if isinstance(element, ir.IndexType):
            return Kind(type_, element, False, 64)
        if not isinstance(element, (ir.FloatType, ir.IntegerType)):
            raise TypeError(f"no arithmetic on {type_}")
        return Kind(type_, element, isinstance(element, ir.FloatType), element.width)

    def with_element(self, element: ir.Type) -> ir.Type:
        """The type of the same shape with another element."""
        if not isinstance(self.type, ir.VectorType):
            return element
        vector = self.type
        return ir.VectorType.get(vector.shape, element, scalable=vector.scalable_dims if vector.scalable else None)


class Builder:
    """Creates operations at `point`, float ones with the flags `fastmath` (textual, for example "reassoc,contract").

    Constants are created at `point` too, unless `constants` names a block that dominates every later `point`: each is
    then made once, at its beginning.
    """

    __slots__ = (
        "_constants",
        "_derived",
        "_fastmath",
        "_kinds",
        "_known",
        "_location",
        "_made",
        "_point",
        "_predicates",
    )

    def __init__(
        self,
        point: ir.InsertionPoint,
        location: ir.Location,
        *,
        fastmath: str = "contract",
        constants: ir.Block | None = None,
    ) -> None:
        self._point = point
        self._location = location
        self._fastmath = {"fastmath": ir.Attribute.parse(f"#arith.fastmath<{fastmath}>", location.context)}
        self._constants = constants
        self._made: list[ir.Operation] = []
        self._known: dict[tuple[Kind, str], Expr] = {}
        self._kinds: dict[ir.Type, Kind] = {}
        self._derived: dict[tuple[Kind, str], Kind] = {}
        self._predicates: dict[int, ir.Attribute] = {}

    def at(self, point: ir.InsertionPoint, location: ir.Location) -> None:
        """Create what follows at another place."""
        self._point = point
        self._location = location

    def taken(self) -> list[ir.Operation]:
        """The operations, constants apart, that were made since this was asked before."""
        made, self._made = self._made, []
        return made

    def wrap(self, value: ir.Value) -> Expr:
        """`value` as an expression."""
        return Expr(self, value, self.kind(value.type))

    def kind(self, type_: ir.Type) -> Kind:
        """The kind of `type_`, worked out once."""
        kind = self._kinds.get(type_)
        if kind is None:
            kind = self._kinds[type_] = Kind.of(type_)
        return kind

    def same_shape(self, kind: Kind, name: str) -> Kind:
        """The kind of the shape of `kind` and the element called `name` ("i1", "f32"), worked out once."""
        derived = self._derived.get((kind, name))
        if derived is None:
            element = ir.Type.parse(name, kind.type.context)
            derived = self._derived[kind, name] = self.kind(kind.with_element(element))
        return derived

    def constant(self, number: Number, kind: Kind) -> Expr:
        """`number` as a scalar or splat of `kind`; integers are taken modulo 2**bits."""
        key = (kind, repr(number))
        if self._constants is not None and key in self._known:
            return self._known[key]
        if kind.is_float:
            attribute = ir.FloatAttr.get(kind.element, float(number), loc=self._location)
        else:
            wrapped = int(number) & ((1 << kind.bits) - 1)
            signed = wrapped - (1 << kind.bits) if kind.bits > 1 and wrapped >> (kind.bits - 1) else wrapped
            attribute = ir.IntegerAttr.get(kind.element, signed)
        if kind.type != kind.element:
            attribute = ir.DenseElementsAttr.get_splat(kind.type, attribute)
        result = self._known[key] = self._constant(attribute, kind)
        return result

    def _constant(self, attribute: ir.Attribute, kind: Kind) -> Expr:
        """A constant at its place."""
        op = ir.Operation.create(
            "arith.constant",
            results=[kind.type],
            attributes={"value": attribute},
            loc=self._location,
            ip=self._point if self._constants is None else ir.InsertionPoint.at_block_begin(self._constants),
        )
        return Expr(self, op.result, kind)

    def lanes(self, numbers: Sequence[float], kind: Kind) -> Expr:
        """A constant of the vector `kind` of f32, one number for each lane."""
        key = (kind, repr(tuple(numbers)))
        if self._constants is not None and key in self._known:
            return self._known[key]
        attribute = ir.DenseElementsAttr.get(np.asarray(numbers, np.float32), type=kind.type)
        result = self._known[key] = self._constant(attribute, kind)
        return result

    def intrinsic(self, name: str, kind: Kind, *operands: Expr) -> Expr:
        """What an intrinsic of LLVM gives."""
        with self._location, self._point:
            call = llvm.call_intrinsic(kind.type, ir.StringAttr.get(name), [each.value for each in operands], [], [])
        self._made.append(call.owner)
        return Expr(self, call, kind)

    def emit(self, name: str, kind: Kind, *operands: Expr, flags: bool = False) -> Expr:
        """The one result, of `kind`, of a new operation; `flags` says that it takes the fast-math attribute."""
        op = ir.Operation.create(
            name,
            results=[kind.type],
            operands=[operand.value for operand in operands],
            attributes=self._fastmath if flags else None,
            loc=self._location,
            ip=self._point,
        )
        self._made.append(op)
        return Expr(self, op.result, kind)

    def compare(self, predicate: str, left: Expr, right: Expr) -> Expr:
        """i1 of the same shape; `predicate` is a Python comparison or "unordered" (either is NaN)."""
        number = (_FLOAT_PREDICATES if left.kind.is_float else _INTEGER_PREDICATES)[predicate]
        attribute = self._predicates.get(number)
        if attribute is None:
            i64 = ir.IntegerType.get_signless(64, left.kind.type.context)
            attribute = self._predicates[number] = ir.IntegerAttr.get(i64, number)
        kind = self.same_shape(left.kind, "i1")
        op = ir.Operation.create(
            "arith.cmpf" if left.kind.is_float else "arith.cmpi",
            results=[kind.type],
            operands=[left.value, right.value],
            attributes={"predicate": attribute, **(self._fastmath if left.kind.is_float else {})},
            loc=self._location,
            ip=self._point,
        )
        self._made.append(op)
        return Expr(self, op.result, kind)

    def choose(self, condition: Expr, yes: Expr | Number, no: Expr | Number) -> Expr:
        """`yes` where `condition` holds, else `no`; one of the two may be a number."""
        if isinstance(yes, Expr):
            other = yes.like(no)
            return self.emit("arith.select", yes.kind, condition, yes, other)
        if not isinstance(no, Expr):
            raise TypeError("choose needs one expression to know the type")
        return self.emit("arith.select", no.kind, condition, no.like(yes), no)


class Expr:
    """A scalar or vector value; the operators create one operation each and take numbers on either side."""

    __slots__ = ("builder", "kind", "value")

    def __init__(self, builder: Builder, value: ir.Value, kind: Kind) -> None:
        self.builder = builder
        self.value = value
        self.kind = kind

    def like(self, other: Expr | Number) -> Expr:
        """`other`, as a constant of this type if it is a number."""
        return other if isinstance(other, Expr) else self.builder.constant(other, self.kind)

    def _binary(self, symbol: str, left: Expr | Number, right: Expr | Number) -> Expr:
        table = _FLOAT_OPS if self.kind.is_float else _INTEGER_OPS
        return self.builder.emit(table[symbol], self.kind, self.like(left), self.like(right), flags=self.kind.is_float)

    def __add__(self, other: Expr | Number) -> Expr:
        return self._binary("+", self, other)

    def __radd__(self, other: Number) -> Expr:
        return self._binary("+", self, other)

    def __sub__(self, other: Expr | Number) -> Expr:
        return self._binary("-", self, other)

    def __rsub__(self, other: Number) -> Expr:
        return self._binary("-", other, self)

    def __mul__(self, other: Expr | Number) -> Expr:
        return self._binary("*", self, other)

    def __rmul__(self, other: Number) -> Expr:
        return self._binary("*", self, other)

    def __truediv__(self, other: Expr | Number) -> Expr:
        return self._binary("/", self, other)

    def __rtruediv__(self, other: Number) -> Expr:
        return self._binary("/", other, self)

    def __lshift__(self, other: Expr | Number) -> Expr:
        return self._binary("<<", self, other)

    def __rshift__(self, other: Expr | Number) -> Expr:
        return self._binary(">>", self, other)

    def __and__(self, other: Expr | Number) -> Expr:
        return self._binary("&", self, other)

    def __or__(self, other: Expr | Number) -> Expr:
        return self._binary("|", self, other)

    def __xor__(self, other: Expr | Number) -> Expr:
        return self._binary("^", self, other)

    def __neg__(self) -> Expr:
        return self._float_op("arith.negf") if self.kind.is_float else 0 - self

    def __lt__(self, other: Expr | Number) -> Expr:
        return self.builder.compare("<", self, self.like(other))

    def __le__(self, other: Expr | Number) -> Expr:
        return self.builder.compare("<=", self, self.like(other))

    def __gt__(self, other: Expr | Number) -> Expr:
        return self.builder.compare(">", self, self.like(other))

    def __ge__(self, other: Expr | Number) -> Expr:
        return self.builder.compare(">=", self, self.like(other))

    def equals(self, other: Expr | Number) -> Expr:
        """i1: the two are equal; false on NaN."""
        return self.builder.compare("==", self, self.like(other))

    def differs(self, other: Expr | Number) -> Expr:
        """i1: the two are not equal; true on NaN."""
        return self.builder.compare("!=", self, self.like(other))

    def _float_op(self, name: str, *others: Expr | Number) -> Expr:
        return self.builder.emit(name, self.kind, self, *(self.like(other) for other in others), flags=True)

    def sqrt(self) -> Expr:
        """The correctly rounded square root."""
        return self._float_op("math.sqrt")

    def abs(self) -> Expr:
        """The magnitude of a float."""
        return self._float_op("math.absf")

    def round_even(self) -> Expr:
        """The nearest integer as a float, ties to even."""
        return self._float_op("math.roundeven")

    def floor(self) -> Expr:
        """The largest integer not above, as a float."""
        return self._float_op("math.floor")

    def copysign(self, sign: Expr) -> Expr:
        """This magnitude with the sign of `sign`."""
        return self._float_op("math.copysign", sign)

    def fma(self, factor: Expr | Number, addend: Expr | Number) -> Expr:
        """`self * factor + addend`, rounded once; a slow call on targets without it, so prefer `a * b + c`."""
        return self._float_op("math.fma", factor, addend)

    def minimum(self, other: Expr | Number) -> Expr:
        """The smaller; NaN where either float is NaN."""
        name = "arith.minimumf" if self.kind.is_float else "arith.minsi"
        return self.builder.emit(name, self.kind, self, self.like(other), flags=self.kind.is_float)

    def maximum(self, other: Expr | Number) -> Expr:
        """The larger; NaN where either float is NaN."""
        name = "arith.maximumf" if self.kind.is_float else "arith.maxsi"
        return self.builder.emit(name, self.kind, self, self.like(other), flags=self.kind.is_float)

    def at_least(self, bound: Number) -> Expr:
        """The larger of this and `bound`; NaN stays NaN. One instruction, where `maximum` may take several."""
        return self.builder.choose(self < bound, bound, self)

    def at_most(self, bound: Number) -> Expr:
        """The smaller of this and `bound`; NaN stays NaN. One instruction, where `minimum` may take several."""
        return self.builder.choose(self > bound, bound, self)

    def bits(self) -> Expr:
        """A float's bit pattern as an integer of its width."""
        return self.builder.emit("arith.bitcast", self.builder.same_shape(self.kind, f"i{self.kind.bits}"), self)

    def as_float(self) -> Expr:
        """The IEEE float with this integer's bits; 16, 32 and 64 bits."""
        return self.builder.emit("arith.bitcast", self.builder.same_shape(self.kind, f"f{self.kind.bits}"), self)

    def to(self, element: str) -> Expr:
        """The value with the element type "f64", "i32", "index", …; float to integer truncates and must be in range."""
        kind = self.builder.same_shape(self.kind, element)
        if kind is self.kind:
            return self
        name = _conversion(self.kind, kind)
        return self.builder.emit(name, kind, self, flags=name in ("arith.extf", "arith.truncf"))

    def horner(self, coefficients: Sequence[float]) -> Expr:
        """The polynomial in this value with `coefficients`, constant term first."""
        *rest, last = coefficients
        result = self.like(last)
        for coefficient in reversed(rest):
            result = result * self + coefficient
        return result


def _conversion(source: Kind, target: Kind) -> str:
    wider = target.bits > source.bits
    if source.is_float and target.is_float:
        return "arith.extf" if wider else "arith.truncf"
    if isinstance(source.element, ir.IndexType) or isinstance(target.element, ir.IndexType):
        return "arith.index_cast"
    if source.is_float:
        return "arith.fptosi"
    if target.is_float:
        return "arith.sitofp"
    return "arith.extsi" if wider else "arith.trunci"
