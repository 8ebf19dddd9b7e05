"""point_products: a convolution of single pixels is a product: pixels of all images times the transpose of its filters.

Before (%x and %a have channels last):
    linalg.generic {library_call = "sparsec"} ins(%x, %w : memref<2x16x8x8xf32, strided<...>>, memref<4x16x1x1xf32>) outs(%a) {
      "sparsec.conv" with strides 1 }
After:
    %p = memref.reinterpret_cast %0 to sizes: [2, 8, 8, 16]     %q = memref.reinterpret_cast %1 to sizes: [2, 8, 8, 4]
    linalg.generic {library_call = "sparsec"} ins(%p, %v : memref<2x8x8x16xf32>, memref<4x16xf32>) outs(%q) {
      "sparsec.linear" with image = [2, 16, 8, 8] }

So its filters may be sparse like those of any linear layer.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch_mlir import ir

from sparsec.ir.module import integers, shape_of
from sparsec.passes.access import composed, indexing_maps
from sparsec.passes.device.buffers import base_of, half_positions
from sparsec.passes.device.channels_last import CHANNEL, has_channels_last, pixels_of
from sparsec.passes.device.filters import reshaped
from sparsec.passes.device.restride import view_of
from sparsec.passes.fuse_epilogue import axes_map, layer_generic
from sparsec.passes.layer import Layer, clone_body, layers
from sparsec.passes.unit import Unit

IMAGE = "image"  # the attribute of such a product: the shape of x


def point_products(unit: Unit) -> None:
    """Replace every such convolution."""
    with unit.module.context, ir.Location.unknown():
        for layer in layers(unit.module):
            if layer.contraction.name == "sparsec.conv" and _is_of_points(layer):
                with layer.op.location:
                    _replace(layer, unit)


def _is_of_points(layer: Layer) -> bool:
    facts, op = layer.contraction.attributes, layer.op
    steps = [integers(facts[name]) for name in ("strides", "before", "after")]
    plain = steps == [(1,) * len(steps[0]), (0,) * len(steps[0]), (0,) * len(steps[0])]
    alone = ir.IntegerAttr(facts["groups"]).value == 1 and layer.weight is not None
    points = all(size == 1 for size in shape_of(layer.inputs[1])[2:])
    return plain and alone and points and all(has_channels_last(op.operands[at]) for at in half_positions(layer))


def _replace(layer: Layer, unit: Unit) -> None:
    op, x = layer.op, layer.inputs[0]
    rank = len(shape_of(x))
    images = half_positions(layer)
    operands = [_pixels(value, op) if at in images else value for at, value in enumerate(op.operands)]
    operands[1] = reshaped(layer, "matrix", lambda filters: filters.reshape(filters.shape[:2]), unit)
    loops = 2 * rank + 2  # axes of y, of x, of the weight
    maps = [axes_map(loops, range(rank, 2 * rank)), axes_map(loops, range(2 * rank, loops))]
    for at, indices in list(enumerate(indexing_maps(op)))[layer.arity :]:
        maps.append(_turned(indices, rank, loops, whole=at in images))
    product = layer_generic(operands, maps, loops, op)
    product.attributes["layer"] = op.attributes["layer"]
    block, old = product.regions[0].blocks[0], op.regions[0].blocks[0]
    contraction = layer.contraction
    with ir.InsertionPoint(block), contraction.location:
        total = ir.Operation.create(
            "sparsec.linear",
            results=[contraction.results[0].type],
            operands=list(block.arguments)[:2],
            attributes={IMAGE: ir.DenseI64ArrayAttr.get(list(shape_of(x)))},
        )
    values: dict[ir.Value, ir.Value] = dict(zip(old.arguments, block.arguments, strict=True))
    values[contraction.results[0]] = total.results[0]
    clone_body([each.operation for each in list(old.operations)[1:]], block, values)
    op.erase()


def _pixels(image: ir.Value, before: ir.Operation) -> ir.Value:
    return view_of(base_of(image), pixels_of(image), ir.InsertionPoint(before))


def _turned(indices: ir.AffineMap, rank: int, loops: int, *, whole: bool) -> ir.AffineMap:
    """The indices of an operand, the channel being the last axis of y, and of the operand if that is a `whole` image."""
    order: Sequence[int] = [0, *range(CHANNEL + 1, rank), CHANNEL]  # axes before, in their order now
    places = [ir.AffineDimExpr.get(order.index(axis)) for axis in range(rank)]
    old = ir.AffineMap.get(loops, 0, places + [ir.AffineConstantExpr.get(0)] * (indices.n_dims - rank))
    results = list(indices.results)
    return composed([results[axis] for axis in order] if whole else results, old)
