"""fit_operands: layers meet their operands as products on a GPU take them: rows of 16 bits without gaps inside.

Before (%x is an input of the network, %y one of its results):
    linalg.generic {library_call = "sparsec"} ins(%x, %w : memref<4x8xf32>, ...) outs(%y : memref<4x2xf32>)
After (precision fp16):
    %a = memref.alloc() : memref<4x8xf16>   linalg.generic ins(%x) outs(%a) { arith.truncf }
    %b = memref.alloc() : memref<4x2xf32>
    linalg.generic {library_call = "sparsec"} ins(%a, %w : memref<4x8xf16>, ...) outs(%b : memref<4x2xf32>)
    linalg.generic ins(%b) outs(%y) { ... }

Allocations such as %b become halves in `narrow_buffers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from torch_mlir import ir

from sparsec.ir.dialect import POOL
from sparsec.ir.module import element_of, shape_of
from sparsec.ir.weights import WEIGHT_OP
from sparsec.passes.device.buffers import alloc, base_of, can_be_half, copy, half_positions, narrow_argument
from sparsec.passes.device.channels_last import OF_IMAGES, alloc_image, has_channels_last, lies_in_pixels
from sparsec.passes.layer import Layer, layers
from sparsec.passes.unit import Unit


def fit_operands(unit: Unit) -> None:
    """Copy what does not fit."""
    with unit.module.context, ir.Location.unknown():
        fitting = _Fitting(ir.Type.parse(unit.half))
        for layer in layers(unit.module):
            with layer.op.location:
                fitting.fit(layer)


@dataclass(frozen=True, slots=True)
class _Fitting:
    half: ir.Type
    copies: dict[ir.Value, ir.Value] = field(default_factory=dict)  # of inputs and weights, which do not change

    def fit(self, layer: Layer) -> None:
        """Copy operands to halves, and to rows that are even."""
        op = layer.op
        *read, written = half_positions(layer)
        for position in read:
            value = op.operands[position]
            if element_of(value) != self.half and not can_be_half(base_of(value)):
                value = self._rounded(value, layer)
            if not is_even(layer, value):
                value = _copied(value, element_of(value), layer)
            op.operands[position] = value
            if element_of(value) == self.half:
                narrow_argument(op, position, self.half)
        target = op.operands[written]
        if not can_be_half(base_of(target)) or not is_even(layer, target):
            op.operands[written] = _fresh(layer, shape_of(target), element_of(target))
            copy(op.operands[written], target, ir.InsertionPoint.after(op))

    def _rounded(self, value: ir.Value, layer: Layer) -> ir.Value:
        """A copy of halves; of what does not change, of all of it, once."""
        base = base_of(value)
        if not _never_changes(base) or layer.contraction.name in OF_IMAGES:
            return _copied(value, self.half, layer)
        if base not in self.copies:
            ip = ir.InsertionPoint(layer.op)
            self.copies[base] = alloc(shape_of(base), self.half, ip)
            copy(base, self.copies[base], ip)
        return _view_again(value, base, self.copies[base], layer.op)


def _copied(value: ir.Value, element: ir.Type, layer: Layer) -> ir.Value:
    made = _fresh(layer, shape_of(value), element)
    copy(value, made, ir.InsertionPoint(layer.op))
    return made


def _fresh(layer: Layer, shape: Sequence[int], element: ir.Type) -> ir.Value:
    """An allocation that a product of this kind takes."""
    make = alloc_image if layer.contraction.name in OF_IMAGES else alloc
    return make(shape, element, ir.InsertionPoint(layer.op))


def _view_again(value: ir.Value, base: ir.Value, other: ir.Value, op: ir.Operation) -> ir.Value:
    """The view of `base` that `value` is, of another buffer like it."""
    if value == base:
        return other
    view = value.owner.operation
    source = _view_again(view.operands[0], base, other, op)
    kind = ir.MemRefType(value.type)
    return ir.Operation.create(
        view.name,
        results=[ir.MemRefType.get(kind.shape, element_of(other), layout=kind.layout)],
        operands=[source, *list(view.operands)[1:]],
        attributes={name: view.attributes[name] for name in view.attributes},
        ip=ir.InsertionPoint(op),
    ).results[0]


def is_even(layer: Layer, value: ir.Value) -> bool:
    """True if a product of this kind takes the buffer as it lies."""
    steps, _ = ir.MemRefType(value.type).get_strides_and_offset()
    match layer.contraction.name:
        case "sparsec.matmul":
            return 1 in steps[-2:]
        case "sparsec.attention":
            return bool(steps[-1] == 1)
        case name if name in OF_IMAGES:
            return has_channels_last(value) or (value == layer.inputs[0] and name != POOL and lies_in_pixels(value))
        case _:
            return even_rows(value) is not None


def even_rows(value: ir.Value) -> int | None:
    """Elements from one row of a buffer to the next, all axes but the last counting rows; None if that differs."""
    steps, _ = ir.MemRefType(value.type).get_strides_and_offset()
    shape = shape_of(value)
    if not shape:
        return None
    wide = [(size, step) for size, step in zip(shape[:-1], steps[:-1], strict=True) if size != 1]
    if steps[-1] != 1 and shape[-1] != 1:
        return None
    for (_, outer), (size, inner) in pairwise(wide):
        if outer != size * inner:
            return None
    return wide[-1][1] if wide else shape[-1]


def _never_changes(base: ir.Value) -> bool:
    return isinstance(base.owner, ir.Block) or base.owner.operation.name == WEIGHT_OP
