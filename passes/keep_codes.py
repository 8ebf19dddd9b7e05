"""keep_codes: a quantisation of what was dequantised alike, and only moved since, is undone; maxima are taken of codes.

Before (all with scale 0.5 and zero point 3):
    %f = torch.aten.to.dtype %q (f32)   %c = torch.aten.sub.Tensor %f, 3.0   %x = torch.aten.mul.Tensor %c, 0.5
    %t = torch.aten.transpose.int %x, ...
    %d = torch.aten.div.Tensor %t, 0.5   ... round, add 3.0, clamp, cast ...   %r = torch.aten.to.dtype ... (ui8)
After:
    %r = torch.aten.transpose.int %q, ... : !torch.vtensor<[8,4],ui8>

Quantisers of graphs put such pairs around operators that only move elements, so that each operator stands between one and the other.
A quantisation of what was moved becomes the moved codes: there are fewer bytes to move, and the layer before can make them. One of maxima
over windows becomes the maxima of quantised numbers, which are the same, for rounding keeps their order. One of what was padded with
zeros becomes codes that are padded with the zero point, as convolutions pad themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch_mlir import ir

from sparsec.ir.module import find, replace, users
from sparsec.ir.torch_values import TorchBuilder, definition, scalar, tensor_element, tensor_shape, tensor_type
from sparsec.passes.fold_constants import MOVES
from sparsec.passes.quantised_values import CAST, Activation, Quantisation, activation_of, quantisation_of
from sparsec.passes.split_pools import MAX_POOL
from sparsec.passes.unit import Unit

PAD = "torch.aten.constant_pad_nd"
_RANGES = {"ui8": (0, 255), "si8": (-128, 127)}


def keep_codes(unit: Unit) -> None:
    """Replace each such quantisation by moved codes, or by the maxima of codes."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == CAST):
            quantisation = quantisation_of(op, unit)
            if quantisation is not None:
                _keep(op, quantisation, unit)


def _keep(op: ir.Operation, quantisation: Quantisation, unit: Unit) -> None:
    value, outer = quantisation.value, definition(quantisation.value)
    if outer is not None and len(users(value)) == 1 and _holds_of_codes(outer, quantisation):
        value = outer.operands[0]
    else:
        outer = None
    known = activation_of(value, unit)
    moves = _moves(value)
    if known is not None and _alike(known, quantisation):
        codes = known.moved(op)
    elif moves:
        codes = Activation(_quantised(moves[0].operands[0], op, quantisation), moves).moved(op)
    elif outer is not None:
        codes = _quantised(value, op, quantisation)
    else:
        return
    unused = [*moves, *([outer] if outer is not None else []), *_steps(op, quantisation)[:-1]]
    if outer is not None:
        codes = _maxima(codes, outer, op) if outer.name == MAX_POOL else _padded(codes, outer, op, quantisation)
    replace(op, [codes])
    _erase_unused(unused)


def _holds_of_codes(outer: ir.Operation, quantisation: Quantisation) -> bool:
    """True for an op that does the same to codes: maxima, as codes rise with numbers where the scale is known, and pads."""
    if outer.name == MAX_POOL:
        return isinstance(quantisation.scale, float)
    return _pads_with_zeros(outer, quantisation)


def _pads_with_zeros(op: ir.Operation, quantisation: Quantisation) -> bool:
    """True for a pad with zeros whose code is known."""
    return op.name == PAD and scalar(op.operands[2]) == 0 and isinstance(quantisation.zero, float)


def _padded(codes: ir.Value, pad: ir.Operation, at: ir.Operation, quantisation: Quantisation) -> ir.Value:
    """The pad on codes, with that of zero."""
    assert isinstance(quantisation.zero, float)
    zero = int(min(max(quantisation.zero, quantisation.low), quantisation.high))
    build = TorchBuilder(at)
    return build.create(PAD, [at.results[0].type], [codes, pad.operands[1], build.integer(zero)])


def _moves(value: ir.Value) -> tuple[ir.Operation, ...]:
    """The ops, in order, that only move elements and lead to `value`, each read by the next alone, and the last by one op."""
    moves: list[ir.Operation] = []
    op = definition(value)
    while op is not None and op.name in MOVES and len(users(op.results[0])) == 1:
        moves.insert(0, op)
        op = definition(op.operands[0])
    return tuple(moves)


def _quantised(value: ir.Value, cast: ir.Operation, quantisation: Quantisation) -> ir.Value:
    """The steps of the quantisation that ends in `cast`, on another value."""
    build, shape = TorchBuilder(cast), tensor_shape(value) or ()
    for step in _steps(cast, quantisation):
        element = tensor_element(step.results[0])
        assert element is not None
        type_ = tensor_type(shape, element, cast.context)
        value = build.create(step.name, [type_], [value, *list(step.operands)[1:]])
    return value


def _steps(cast: ir.Operation, quantisation: Quantisation) -> list[ir.Operation]:
    """The ops of the quantisation that ends in `cast`, in order."""
    steps = [cast]
    while steps[0] != quantisation.division:
        before = definition(steps[0].operands[0])
        assert before is not None, "a quantisation is a chain of ops"
        steps.insert(0, before)
    return steps


def _erase_unused(ops: Sequence[ir.Operation]) -> None:
    """Erase them from behind: another reader would keep the layer before from making codes."""
    for op in reversed(ops):
        if not users(op.results[0]):
            op.erase()


def _maxima(codes: ir.Value, pool: ir.Operation, at: ir.Operation) -> ir.Value:
    """The pool on codes; of unsigned ones with the highest bit turned, as upstream compares signed bytes."""
    build, rest = TorchBuilder(at), list(pool.operands)[1:]
    result = tensor_type(tensor_shape(pool.results[0]) or (), "si8", at.context)
    if tensor_element(codes) == "si8":
        return build.create(MAX_POOL, [result], [codes, *rest])
    turned = _turned(codes, build)
    signed = build.from_builtin(build.to_builtin(turned), tensor_type(tensor_shape(codes) or (), "si8", at.context))
    maxima = build.create(MAX_POOL, [result], [signed, *rest])
    unsigned = tensor_type(tensor_shape(maxima) or (), "ui8", at.context)
    return _turned(build.from_builtin(build.to_builtin(maxima), unsigned), build)


def _turned(codes: ir.Value, build: TorchBuilder) -> ir.Value:
    highest = build.literal(np.array(128, np.uint8))
    return build.create("torch.aten.bitwise_xor.Tensor", [codes.type], [codes, highest])


def _alike(codes: Activation, quantisation: Quantisation) -> bool:
    """Both have the same constant scale and zero point and the whole range of the same type."""
    scale, zero = codes.scale, codes.zero if codes.zero is not None else 0.0
    return (
        isinstance(scale, float)
        and isinstance(zero, float)
        and isinstance(quantisation.scale, float)
        and np.float32(scale) == np.float32(quantisation.scale)
        and zero == quantisation.zero
        and (quantisation.low, quantisation.high) == _RANGES[quantisation.element]
        and tensor_element(codes.codes) == quantisation.element
    )
