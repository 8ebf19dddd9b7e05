"""What follows the sum of a layer, read as what products on a GPU do before they round: scale, bias, activation, residual.

y = activation(scale * sum + bias) + residual    or    y = activation(scale * sum + bias + residual)
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from torch_mlir import ir

from sparsec.kernels.epilogue import Reach
from sparsec.passes.layer import Layer

_ROUNDING = 1e-6  # relative, of constants in float32
# Predicates of `arith.cmpf`: ordered, then such that hold for NaN, too; those of two opposites add up to the same.
_GREATER, _LESS, _OPPOSITES = (2, 3, 9, 10), (4, 5, 11, 12), 14
_MIRRORED = {2: 4, 3: 5, 4: 2, 5: 3, 9: 11, 10: 12, 11: 9, 12: 10}


@dataclass(frozen=True, slots=True)
class Tail:
    """`bias` and `residual` are positions among the layer's inputs; `activation` is relu, relu6, gelu (of erf) or silu."""

    scale: float = 1.0
    bias: int | None = None
    activation: str | None = None
    residual: int | None = None
    residual_first: bool = False


@dataclass(frozen=True, slots=True)
class _Terms:
    """A sum: the product's sum times a scale, and operands added to it."""

    scale: float
    bias: int | None
    residual: int | None


def tail_of(layer: Layer) -> Tail | None:
    """The tail of a layer; None if it is something else, or more than a product of its kind does."""
    tail = _read(layer)
    if tail is None:
        return None
    if layer.contraction.name == "sparsec.matmul":
        return tail if tail == Tail(scale=tail.scale) else None
    return tail if tail.scale == 1.0 else None


def _read(layer: Layer) -> Tail | None:
    block = layer.op.regions[0].blocks[0]
    result = _widened(list(block.operations)[-1].operation.operands[0])
    reader = _Reader(layer, block)
    plain = reader.terms(result)
    if plain is not None:
        return Tail(plain.scale, plain.bias, None, plain.residual)
    added: int | None = None
    active = result
    for number, inner in reader.summands(result):
        if number is None:
            active = inner
        elif reader.reach(number) is Reach.FULL and added is None:
            added = number
        else:
            return None
    for name, inner in _activations(active):
        terms = reader.terms(inner)
        if terms is not None and (terms.residual is None or added is None):
            return Tail(terms.scale, terms.bias, name, terms.residual or added, terms.residual is not None)
    return None


@dataclass(frozen=True, slots=True)
class _Reader:
    layer: Layer
    block: ir.Block

    def terms(self, value: ir.Value) -> _Terms | None:
        """`value` as a sum of the product's sum and operands; None if it is no such sum."""
        scale: float | None = None
        bias = residual = None
        total = self.layer.contraction.results[0]
        for number, inner in self.summands(value):
            if number is None:
                factor, rest = factors(inner)
                if not rest and factor == 0:
                    continue
                if rest != [total] or scale is not None:
                    return None
                scale = factor
            elif self.reach(number) is Reach.CHANNEL and bias is None:
                bias = number
            elif self.reach(number) is Reach.FULL and residual is None:
                residual = number
            else:
                return None
        return None if scale is None else _Terms(scale, bias, residual)

    def summands(self, value: ir.Value) -> list[tuple[int | None, ir.Value]]:
        """What is added up, operands of the layer with their position."""
        op = _op(value, "arith.addf")
        if op is not None:
            return [each for operand in op.operands for each in self.summands(operand)]
        value = _widened(value)
        inside = isinstance(value.owner, ir.Block) and value.owner == self.block
        return [(ir.BlockArgument(value).arg_number if inside else None, value)]

    def reach(self, number: int) -> Reach | None:
        """How the operand at a position covers y."""
        if number < self.layer.arity:
            return None
        return self.layer.epilogue().operands[number - self.layer.arity].reach


def factors(value: ir.Value) -> tuple[float, list[ir.Value]]:
    """A product as its constant factor, and the other factors."""
    constant = number(value)
    if constant is not None:
        return constant, []
    multiplied, divided = _op(value, "arith.mulf"), _op(value, "arith.divf")
    if multiplied is not None:
        parts = [factors(operand) for operand in multiplied.operands]
        return math.prod(factor for factor, _ in parts), [each for _, rest in parts for each in rest]
    divisor = number(divided.operands[1]) if divided is not None else None
    if divided is not None and divisor:
        factor, rest = factors(divided.operands[0])
        return factor / divisor, rest
    return 1.0, [value]


def number(value: ir.Value) -> float | None:
    """The value of a constant."""
    op = _op(_widened(value), "arith.constant")
    attribute = op.attributes["value"] if op is not None else None
    return float(attribute.value) if isinstance(attribute, ir.FloatAttr) else None


def _activations(value: ir.Value) -> list[tuple[str, ir.Value]]:
    """The activation that makes `value`, with its argument; empty if it is none that is known."""
    for name, read in (("relu", _relu), ("relu6", _relu6), ("gelu", _gelu), ("silu", _silu)):
        inner = read(value)
        if inner is not None:
            return [(name, inner)]
    return []


def _relu(value: ir.Value) -> ir.Value | None:
    """max(x, 0)."""
    return _bounded(value, "arith.maximumf", _GREATER, 0)


def _relu6(value: ir.Value) -> ir.Value | None:
    """min(max(x, 0), 6)."""
    inner = _bounded(value, "arith.minimumf", _LESS, 6)
    return _relu(inner) if inner is not None else None


def _bounded(value: ir.Value, name: str, kept: Collection[int], bound: float) -> ir.Value | None:
    """What is itself while it compares so with a constant, and else is the constant: by the op of this name, or by a choice."""
    extreme, chosen = _op(value, name), _op(value, "arith.select")
    if extreme is not None:
        rest = [each for each in extreme.operands if number(each) != bound]
        return rest[0] if len(rest) == 1 else None
    compared = _op(chosen.operands[0], "arith.cmpf") if chosen is not None else None
    if chosen is None or compared is None:
        return None
    (first, second), (_, taken, other) = compared.operands, chosen.operands
    predicate = ir.IntegerAttr(compared.attributes["predicate"]).value
    if number(taken) == bound:
        taken, other, predicate = other, taken, _OPPOSITES - predicate
    if number(first) == bound:
        first, second, predicate = second, first, _MIRRORED.get(predicate, predicate)
    fits = predicate in kept and first == taken and number(second) == bound == number(other)
    return taken if fits else None


def _gelu(value: ir.Value) -> ir.Value | None:
    """x (1 + erf(x / sqrt 2)) / 2."""
    half, rest = factors(value)
    if len(rest) != 2 or half != 0.5:
        return None
    for inner, other in (rest, rest[::-1]):
        erf = _one_more(other, "math.erf")
        if erf is not None:
            scale, argument = factors(erf.operands[0])
            if argument == [inner] and math.isclose(scale, math.sqrt(0.5), rel_tol=_ROUNDING):
                return inner
    return None


def _silu(value: ir.Value) -> ir.Value | None:
    """x / (1 + exp(-x))."""
    one, rest = factors(value)
    if one != 1 or len(rest) > 2:
        return None
    for position, each in enumerate(rest):
        quotient = _op(each, "arith.divf")
        exponential = _one_more(quotient.operands[1], "math.exp") if quotient is not None else None
        negated = _op(exponential.operands[0], "arith.negf") if exponential is not None else None
        if quotient is None or negated is None:
            continue
        inner = negated.operands[0]
        left = [rest[1 - position]] if len(rest) == 2 else []
        scale, top = factors(quotient.operands[0])
        if scale == 1 and [*top, *left] == [inner]:
            return inner
    return None


def _one_more(value: ir.Value, name: str) -> ir.Operation | None:
    """The op of that name to whose result one is added."""
    added = _op(value, "arith.addf")
    if added is None:
        return None
    for one, other in (list(added.operands), list(added.operands)[::-1]):
        if number(one) == 1:
            return _op(other, name)
    return None


def _widened(value: ir.Value) -> ir.Value:
    """The number before it was widened or rounded."""
    op = _op(value, "arith.extf") or _op(value, "arith.truncf")
    return op.operands[0] if op is not None else value


def _op(value: ir.Value, name: str) -> ir.Operation | None:
    owner = value.owner
    return owner.operation if not isinstance(owner, ir.Block) and owner.operation.name == name else None
