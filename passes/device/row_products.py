"""row_products: a product of one row with a matrix whose columns lie one after the other in memory becomes a loop.

Before (attention of one token: q of each head with its keys):
    linalg.generic {library_call = "sparsec"} ins(%q, %k : memref<8x1x128xf16>, memref<8x512x128xf16>) outs(%y : memref<8x1x512xf32>) {
      "sparsec.matmul" {transposed} }
After:
    %total = memref.alloc() : memref<8x1x512xf32>
    linalg.generic outs(%total) { 0 }
    linalg.generic {iterator_types = [parallel, parallel, parallel, reduction]} ins(%q, %k) outs(%total) { mulf, addf }
    linalg.generic ins(%total) outs(%y) { mulf by the scale }

Tensor cores have nothing to do there: what it costs is to read the matrix, which threads side by side do at its speed.
"""

from __future__ import annotations

from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.ir.module import shape_of
from sparsec.passes.device.buffers import alloc, converted, fill, nest
from sparsec.passes.device.tails import tail_of
from sparsec.passes.layer import Layer, layers
from sparsec.passes.unit import Unit

_MULTIPLE = 8  # elements of a vector


def row_products(unit: Unit) -> None:
    """Replace every such product of two activations."""
    with unit.module.context, ir.Location.unknown():
        for layer in layers(unit.module):
            if layer.contraction.name == "sparsec.matmul" and _is_row(layer):
                with layer.op.location:
                    _replace(layer)


def _is_row(layer: Layer) -> bool:
    p, q = layer.inputs[:2]
    steps, _ = ir.MemRefType(q.type).get_strides_and_offset()
    along = steps[-1] if "transposed" in layer.contraction.attributes else steps[-2]
    rows, inner = shape_of(p)[-2:]
    return rows == 1 and along == 1 and inner % _MULTIPLE == 0 and len(shape_of(p)) == len(shape_of(q))


def _replace(layer: Layer) -> None:
    op, f32, ip = layer.op, ir.F32Type.get(), ir.InsertionPoint(layer.op)
    p, q = layer.inputs[:2]
    total = alloc(shape_of(layer.destination), f32, ip)
    rank = len(shape_of(p))
    tail = tail_of(layer)
    assert tail is not None, "split_tails leaves no other tails"
    fill(total, 0.0, ip)
    *batch, row, column, inner = (ir.AffineDimExpr.get(axis) for axis in range(rank + 1))
    transposed = "transposed" in layer.contraction.attributes
    second = [*batch, column, inner] if transposed else [*batch, inner, column]
    one, other, added = nest([p, q], total, rank + 1, [[*batch, row, inner], second], ip)
    with ir.InsertionPoint(one.owner) as inside:
        term = arith.mulf(converted(one, f32, inside), converted(other, f32, inside))
        ir.Operation.create("linalg.yield", operands=[arith.addf(added, term)])
    summed, result = nest([total], layer.destination, rank, [[*batch, row, column]], ip)
    with ir.InsertionPoint(summed.owner) as inside:
        scaled = arith.mulf(summed, arith.constant(f32, tail.scale)) if tail.scale != 1 else summed
        ir.Operation.create("linalg.yield", operands=[converted(scaled, result.type, inside)])
    op.erase()
