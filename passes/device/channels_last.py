"""channels_last: images between convolutions lie pixel by pixel, all channels of a pixel together.

Before (%x is an input of the network):
    %a = memref.alloc() : memref<2x16x8x8xf32>
    linalg.generic {library_call = "sparsec"} ins(%x, %w) outs(%a) { "sparsec.conv" }
    linalg.generic {...} ins(%a : memref<2x16x8x8xf32>) outs(%b : memref<2x16x8x8xf32>) { math.tanh }
After:
    %0 = memref.alloc() : memref<2x8x8x3xf32>    %t = memref.reinterpret_cast %0 to sizes: [2, 3, 8, 8], strides: [192, 1, 24, 3]
    linalg.generic ins(%x) outs(%t) { linalg.yield %in }
    %1 = memref.alloc() : memref<2x8x8x16xf32>   %a = memref.reinterpret_cast %1 to sizes: [2, 16, 8, 8], strides: [1024, 1, 128, 16]
    linalg.generic {library_call = "sparsec"} ins(%t, %w) outs(%a) { "sparsec.conv" }
    linalg.generic {...} ins(%a) outs(%b : memref<2x16x8x8xf32, strided<[1024, 1, 128, 16]>>) { math.tanh }

So kernels read whole vectors of channels, and a convolution of single pixels is a product of matrices. Axes keep their order; only
strides change, and with them the order in which loops without sums walk. What the network is given and gives back stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch_mlir import ir

from sparsec.ir.dialect import POOL
from sparsec.ir.module import element_of, find, shape_of
from sparsec.passes.access import accesses, indexing_maps, parallel_loops
from sparsec.passes.device.buffers import alloc, base_of, copy, half_positions, is_alloc, uses_of
from sparsec.passes.device.parallel_first import permute
from sparsec.passes.device.restride import Placed, placed, view_of
from sparsec.passes.layer import Layer, is_layer, layers
from sparsec.passes.unit import Unit

OF_IMAGES = ("sparsec.conv", POOL)  # layers
CHANNEL = 1  # the axis of images that counts channels
_VECTOR = 8  # elements
_IMAGES = (3, 4)  # axes that images have: batch, channels, one or two more


def channels_last(unit: Unit) -> None:
    """Change the strides of every buffer that convolutions use, and of those that loops make of them or they of."""
    with unit.module.context, ir.Location.unknown():
        convolutions = [layer for layer in layers(unit.module) if layer.contraction.name in OF_IMAGES]
        for layer in convolutions:
            with layer.op.location:
                _own_images(layer)
        first = [base_of(layer.op.operands[at]) for layer in convolutions for at in half_positions(layer)]
        turned = {_turn(image) for image in _connected(first)}
        for op in find(unit.module, lambda op: op.name == "linalg.generic" and not is_layer(op)):
            if any(base_of(value) in turned for value in op.operands):
                walk_in_order(op)


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Of images [batch, channels, ...] that lie with channels last."""
    channels, space = shape[CHANNEL], shape[CHANNEL + 1 :]
    inner = [channels * math.prod(space[axis + 1 :]) for axis in range(len(space))]
    return (channels * math.prod(space), 1, *inner)


def alloc_image(shape: Sequence[int], element: ir.Type, ip: ir.InsertionPoint) -> ir.Value:
    """A new image that lies so."""
    batch, channels, *space = shape
    strides = strides_of(shape)
    return view_of(alloc([batch, *space, channels], element, ip), Placed(tuple(shape), strides), ip)


def _own_images(layer: Layer) -> None:
    """Let a layer of images read and write allocations that may be turned; copies are made of what else it uses."""
    op = layer.op
    *read, written = half_positions(layer)
    for at in read:
        if not _turns(base_of(op.operands[at])):
            source = op.operands[at]
            op.operands[at] = alloc(shape_of(source), element_of(source), ir.InsertionPoint(op))
            copy(source, op.operands[at], ir.InsertionPoint(op))
    target = op.operands[written]
    if not _turns(base_of(target)):
        op.operands[written] = alloc(shape_of(target), element_of(target), ir.InsertionPoint(op))
        copy(op.operands[written], target, ir.InsertionPoint.after(op))


def _turns(buffer: ir.Value) -> bool:
    """True for an allocation of images all of whose uses can follow."""
    if not is_alloc(buffer) or len(shape_of(buffer)) not in _IMAGES or math.prod(shape_of(buffer)) == 0:
        return False
    strides = strides_of(shape_of(buffer))
    return all(
        op.name == "memref.dealloc" or (op.name == "linalg.generic" and placed(view, strides) is not None)
        for op, _, view in uses_of(buffer)
    )


def _connected(first: Sequence[ir.Value]) -> list[ir.Value]:
    """These buffers, and all that loops join to them as images of equally many channels; in a fixed order."""
    found = dict.fromkeys(first)
    waiting = list(found)
    while waiting:
        image = waiting.pop()
        for op, position, view in uses_of(image):
            if op.name == "linalg.generic" and not is_layer(op):
                for other in _alike(op, position, view):
                    if other not in found and _turns(other):
                        found[other] = None
                        waiting.append(other)
    return list(found)


def _alike(op: ir.Operation, position: int, view: ir.Value) -> Iterator[ir.Value]:
    """What a loop uses with the channels of one of its operands."""
    maps, rank = indexing_maps(op), len(shape_of(view))
    if rank not in _IMAGES:
        return
    channel = maps[position].results[CHANNEL]
    for operand, indices in zip(op.operands, maps, strict=True):
        if len(indices.results) == rank and indices.results[CHANNEL] == channel:
            yield base_of(operand)


def _turn(image: ir.Value) -> ir.Value:
    """The allocation that takes the place of one, with other strides."""
    op, shape = image.owner.operation, shape_of(image)
    strides, ip = strides_of(shape), ir.InsertionPoint(op)
    batch, channels, *space = shape
    with op.location:
        turned = alloc([batch, *space, channels], element_of(image), ip)
        for user, position, view in list(uses_of(image)):
            at = placed(view, strides)
            assert at is not None, "only what turns is turned"
            user.operands[position] = turned if user.name == "memref.dealloc" else view_of(turned, at, ip)
    _erase(op)
    return turned


def _erase(op: ir.Operation) -> None:
    """Take away an allocation and the views of it, which nothing uses."""
    for use in list(op.results[0].uses):
        _erase(use.owner.operation)
    op.erase()


def walk_in_order(op: ir.Operation) -> None:
    """The loops of a nest that are parallel, and before its sums, in the order in which what it writes lies."""
    walked = accesses(op)
    if walked is None:
        return
    steps = walked[-1].strides
    parallel = parallel_loops(op)
    permute(
        op, sorted(range(len(steps)), key=lambda loop: (not parallel[loop], -abs(steps[loop]) if parallel[loop] else 0))
    )


def has_channels_last(image: ir.Value) -> bool:
    """True for a whole image that lies so; the strides of axes of length 1 count for nothing."""
    steps, _ = ir.MemRefType(image.type).get_strides_and_offset()
    shape = shape_of(image)
    return all(size == 1 or step == wanted for size, step, wanted in zip(shape, steps, strides_of(shape), strict=True))


def lies_in_pixels(image: ir.Value) -> bool:
    """True for an image whose pixels have their channels together, and begin where vectors do."""
    steps, offset = ir.MemRefType(image.type).get_strides_and_offset()
    shape = shape_of(image)
    starts = [step for axis, (size, step) in enumerate(zip(shape, steps, strict=True)) if axis != CHANNEL and size > 1]
    return (shape[CHANNEL] == 1 or steps[CHANNEL] == 1) and not any(start % _VECTOR for start in (*starts, offset))


def pixels_of(image: ir.Value) -> Placed:
    """An image that has its channels last, seen so: [batch, ..., channels]."""
    _, offset = ir.MemRefType(image.type).get_strides_and_offset()
    batch, channels, *space = shape_of(image)
    shape = (batch, *space, channels)
    return Placed(shape, tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape))), offset)
