"""fill_channels: pixels that convolutions read get channels of zeros, so that whole vectors of channels can be read.

Before (%a is written by a loop only):
    %0 = memref.alloc() : memref<2x8x8x3xf32>   %a = memref.reinterpret_cast %0 to sizes: [2, 3, 8, 8], strides: [192, 1, 24, 3]
    linalg.generic ins(%x) outs(%a) { linalg.yield %in }
    linalg.generic {library_call = "sparsec"} ins(%a, %w : ..., memref<16x3x3x3xf32>) outs(%y) { "sparsec.conv" }
After:
    %0 = memref.alloc() : memref<2x8x8x8xf32>
    %a = memref.reinterpret_cast %0 to sizes: [2, 3, 8, 8], strides: [512, 1, 64, 8]
    %b = memref.reinterpret_cast %0 to sizes: [2, 8, 8, 8], strides: [512, 1, 64, 8]
    linalg.generic outs(%0) { linalg.yield 0 }   linalg.generic ins(%x) outs(%a) { linalg.yield %in }
    linalg.generic {library_call = "sparsec"} ins(%b, %v : ..., memref<16x8x3x3xf32>) outs(%y) { "sparsec.conv" }

The filters have zeros for these channels. It is for pictures, whose three channels would be read one by one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.ir.module import element_of, shape_of
from sparsec.passes.device.buffers import alloc, base_of, fill, is_alloc, uses_of
from sparsec.passes.device.channels_last import CHANNEL, has_channels_last, strides_of
from sparsec.passes.device.filters import reshaped
from sparsec.passes.device.restride import Placed, view_of
from sparsec.passes.layer import Layer, is_layer, layers
from sparsec.passes.unit import Unit

_VECTOR = 8  # channels that are read at once


def fill_channels(unit: Unit) -> None:
    """Fill up the pixels of every image that one loop writes and nothing but convolutions of one group read."""
    with unit.module.context, ir.Location.unknown():
        known: set[ir.Value] = set()
        for layer in layers(unit.module):
            if layer.contraction.name == "sparsec.conv":
                image = base_of(layer.inputs[0])
                uneven = shape_of(image)[-1] % _VECTOR != 0
                if image not in known and uneven and writer_of(image) is not None:
                    with layer.op.location:
                        _fill(image, unit)
                known.add(image)


def writer_of(image: ir.Value) -> ir.Operation | None:
    """The loop that writes an allocation, if nothing but convolutions of one group read it; all of them see all of it."""
    if not is_alloc(image):
        return None
    uses = [(op, at, view) for op, at, view in uses_of(image) if op.name != "memref.dealloc"]
    written = [op for op, at, _ in uses if at == len(op.operands) - 1]
    alone = len(written) == 1 and not is_layer(written[0]) and all(has_channels_last(view) for _, _, view in uses)
    return written[0] if alone and all(op == written[0] or _reads_pixels(op, at) for op, at, _ in uses) else None


def _reads_pixels(op: ir.Operation, at: int) -> bool:
    """True for a convolution of one group as which this operand is what it reads, by windows that hold several pixels."""
    if not is_layer(op) or Layer(op).contraction.name != "sparsec.conv" or at != 0:
        return False
    alone = ir.IntegerAttr(Layer(op).contraction.attributes["groups"]).value == 1
    return alone and Layer(op).weight is not None


def _fill(image: ir.Value, unit: Unit) -> None:
    op = image.owner.operation
    *pixels, channels = shape_of(image)
    wide = -(-channels // _VECTOR) * _VECTOR
    made = alloc([*pixels, wide], element_of(image), ir.InsertionPoint(op))
    for user, at, view in list(uses_of(image)):
        if user.name == "memref.dealloc":
            user.operands[at] = made
            continue
        shape = list(shape_of(view))
        ip = ir.InsertionPoint(user)
        full = [*shape[:CHANNEL], wide, *shape[CHANNEL + 1 :]]
        if is_layer(user):
            shape = full
            user.operands[1] = reshaped(Layer(user), "filled", lambda filters: _filled(filters, wide), unit)
        else:
            fill(made, 0.0, ip)
        user.operands[at] = view_of(made, Placed(tuple(shape), strides_of(full)), ip)


def _filled(filters: NDArray[np.generic], channels: int) -> NDArray[np.generic]:
    """The filters with so many channels, the last of them zeros."""
    added = [(0, channels - length if axis == CHANNEL else 0) for axis, length in enumerate(filters.shape)]
    return np.pad(filters, added)
