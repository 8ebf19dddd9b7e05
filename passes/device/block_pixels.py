"""block_pixels: blocks of 2x2 pixels of a picture become pixels of four times as many channels, for windows that move by two.

Before (%a, of a picture, is written by a loop only):
    %0 = memref.alloc() : memref<1x224x224x3xf32>   %a = memref.reinterpret_cast %0 to sizes: [1, 3, 224, 224], ...
    linalg.generic ins(%x) outs(%a) { linalg.yield %in }
    linalg.generic {library_call = "sparsec"} ins(%a, %w : ..., memref<64x3x7x7xf32>) outs(%y) { "sparsec.conv" with strides 2 }
After:
    %0 = memref.alloc() : memref<1x115x115x16xf32>   linalg.generic outs(%0) { 0 }
    %a = memref.reinterpret_cast %0 to sizes: [1, 3, 112, 2, 112, 2], ...   linalg.generic ins(%x) outs(%a) { linalg.yield %in }
    %b = memref.reinterpret_cast %0 to sizes: [1, 64, 115, 112], strides: [211600, 1, 1840, 16]
    linalg.generic {library_call = "sparsec"} ins(%b, %v : ..., memref<64x64x4x1xf32>) outs(%y) { "sparsec.conv" with strides 1 }

A window of 7 or 8 pixels in a row is four blocks, whose 64 numbers lie together in memory: they are the channels of one pixel of
%b, which has them in common with its neighbours. What pads the picture is in its frame. The method is known from TPUs as space to
depth (Ying et al., "Image Classification at Supercomputer Scale", 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.ir.module import element_of, integers, shape_of
from sparsec.kernels.problem import Axis
from sparsec.passes.access import composed, indexing_maps, parallel_loops
from sparsec.passes.device.buffers import alloc, base_of, fill
from sparsec.passes.device.channels_last import walk_in_order
from sparsec.passes.device.fill_channels import writer_of
from sparsec.passes.device.filters import reshaped
from sparsec.passes.device.restride import Placed, view_of
from sparsec.passes.layer import Layer, layers
from sparsec.passes.unit import Unit

_STEP = 2  # of windows, and pixels of a block along each axis
_CHANNELS = 16  # of a block, filled up
_TOGETHER = 64  # that a kernel copies at once


@dataclass(frozen=True, slots=True)
class _Line:
    """One axis of a picture as blocks: how many, and how many of them a window has; `before` pixels are in the frame."""

    axis: Axis

    @property
    def window(self) -> int:
        return -(-self.axis.kernel // _STEP)

    @property
    def blocks(self) -> int:
        filled = (self.axis.size - 1 + self.axis.before) // _STEP + 1
        return max(self.axis.out + self.window - 1, filled)

    def strides(self, block: int, inside: int) -> tuple[int, int]:
        """Of a pair of pixels and of the pixels of a pair, if those of blocks and inside of blocks are these."""
        return block, block - inside if self.axis.before % _STEP else inside

    def start(self, block: int, inside: int) -> int:
        """Where the first pixel lies."""
        return self.axis.before // _STEP * block + self.axis.before % _STEP * inside


def block_pixels(unit: Unit) -> None:
    """Rewrite every such convolution, and the loop that makes its picture."""
    with unit.module.context, ir.Location.unknown():
        for layer in layers(unit.module):
            lines = _lines(layer)
            writer = writer_of(base_of(layer.inputs[0])) if lines is not None else None
            if lines is not None and writer is not None and _is_plain(writer):
                with layer.op.location:
                    _rewrite(layer, writer, *lines, unit)


def _lines(layer: Layer) -> tuple[_Line, _Line] | None:
    """The axes of a convolution that can be blocked."""
    if layer.contraction.name != "sparsec.conv" or layer.weight is None or len(shape_of(layer.inputs[0])) != 4:
        return None
    facts, (_, channels, *sizes) = layer.contraction.attributes, shape_of(layer.inputs[0])
    steps, apart, before, after = (integers(facts[name]) for name in ("strides", "dilations", "before", "after"))
    down, right = map(Axis, sizes, shape_of(layer.inputs[1])[2:], steps, apart, before, after)
    fits = all(each.stride == _STEP and each.dilation == 1 and each.size % _STEP == 0 for each in (down, right))
    alone = ir.IntegerAttr(facts["groups"]).value == 1
    lines = _Line(down), _Line(right)
    together = lines[1].window * _CHANNELS % _TOGETHER == 0
    return lines if fits and alone and together and channels * _STEP**2 <= _CHANNELS else None


def _is_plain(writer: ir.Operation) -> bool:
    """True for a loop nest that walks the axes of what it writes."""
    walked = [each.position if isinstance(each, ir.AffineDimExpr) else -1 for each in indexing_maps(writer)[-1].results]
    return all(parallel_loops(writer)) and sorted(walked) == list(range(len(parallel_loops(writer))))


def _rewrite(layer: Layer, writer: ir.Operation, down: _Line, right: _Line, unit: Unit) -> None:
    op = layer.op
    batch, channels, height, width = shape_of(layer.inputs[0])
    row, image = right.blocks * _CHANNELS, down.blocks * right.blocks * _CHANNELS
    made = alloc([batch, down.blocks, right.blocks, _CHANNELS], element_of(layer.inputs[0]), ir.InsertionPoint(writer))
    fill(made, 0.0, ir.InsertionPoint(writer))
    inside = _STEP * channels, channels
    pairs = Placed(
        (batch, channels, height // _STEP, _STEP, width // _STEP, _STEP),
        (image, 1, *down.strides(row, inside[0]), *right.strides(_CHANNELS, inside[1])),
        down.start(row, inside[0]) + right.start(_CHANNELS, inside[1]),
    )
    _write(writer, view_of(made, pairs, ir.InsertionPoint(writer)))
    seen = batch, right.window * _CHANNELS, down.axis.out + down.window - 1, right.axis.out
    op.operands[0] = view_of(made, Placed(seen, (image, 1, row, _CHANNELS)), ir.InsertionPoint(op))
    op.operands[1] = reshaped(layer, "blocks", lambda filters: _blocked(filters, down.window, right.window), unit)
    for name, value in (("strides", 1), ("before", 0), ("after", 0)):
        layer.contraction.attributes[name] = ir.DenseI64ArrayAttr.get([value, value])


def _write(writer: ir.Operation, pairs: ir.Value) -> None:
    """Let a loop nest write pairs of pixels: the loops of height and width become two each."""
    *_, written = indexing_maps(writer)
    loops = [ir.AffineDimExpr.get(loop) for loop in range(6)]
    axes = [loops[0], loops[1], loops[2] * _STEP + loops[3], loops[4] * _STEP + loops[5]]
    places = {each.position: axis for each, axis in zip(map(ir.AffineDimExpr, written.results), axes, strict=True)}
    old = ir.AffineMap.get(6, 0, [places[loop] for loop in range(len(axes))])
    maps = [composed(list(each.results), old) for each in indexing_maps(writer)[:-1]]
    maps.append(ir.AffineMap.get_identity(6))
    writer.attributes["indexing_maps"] = ir.ArrayAttr.get([ir.AffineMapAttr.get(each) for each in maps])
    parallel = ir.Attribute.parse("#linalg.iterator_type<parallel>")
    writer.attributes["iterator_types"] = ir.ArrayAttr.get([parallel] * 6)
    writer.operands[len(writer.operands) - 1] = pairs
    walk_in_order(writer)


def _blocked(weight: NDArray[np.generic], rows: int, columns: int) -> NDArray[np.generic]:
    """The weight [filters, blocks of a row x their channels, rows of blocks, 1], of windows of so many blocks."""
    filters, channels, height, width = weight.shape
    whole = np.pad(weight, ((0, 0), (0, 0), (0, _STEP * rows - height), (0, _STEP * columns - width)))
    blocks = whole.reshape(filters, channels, rows, _STEP, columns, _STEP).transpose(0, 2, 4, 3, 5, 1)
    blocks = blocks.reshape(filters, rows, columns, _STEP**2 * channels)
    filled = np.pad(blocks, ((0, 0), (0, 0), (0, 0), (0, _CHANNELS - blocks.shape[-1])))
    return np.ascontiguousarray(filled.reshape(filters, rows, columns * _CHANNELS).transpose(0, 2, 1)[..., None])
