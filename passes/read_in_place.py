"""read_in_place: products of activations read what was only transposed for them where it lies.

Before:
    %t = linalg.generic {indexing_maps = [(b, h, n, k) -> (b, n, h, k), (b, h, n, k) -> (b, h, n, k)]}
      ins(%x : tensor<1x128x12x32xf32>) { linalg.yield %in }
    %y = linalg.generic {library_call = "sparsec"} ins(%t, %q) { "sparsec.matmul" }
After:
    %y = linalg.generic {library_call = "sparsec"} ins(%x, %q) { "sparsec.matmul" {left_axes = array<i64: 0, 2, 1, 3>} }

Heads of attention are such: lines of a head lie as far apart as tokens do. Lines themselves stay whole, and at most one axis
of a batch is longer than 1. The result of attention is written where a transposition would move it, in the same way
(`y_axes`), if nothing else reads it and no operand of the epilogue is as large.
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.module import replace, shape_of, users
from sparsec.kernels.arithmetic import F32
from sparsec.kernels.epilogue import Reach
from sparsec.passes.access import indexing_maps, parallel_loops
from sparsec.passes.fuse_epilogue import layer_generic
from sparsec.passes.layer import AXES, RESULT_AXES, Layer, clone_body, layers, lines_of
from sparsec.passes.unit import Unit


def read_in_place(unit: Unit) -> None:
    """Give products in float32 the sources of their transposed operands."""
    with unit.module.context, ir.Location.unknown():
        for layer in layers(unit.module):
            if layer.arithmetic == F32:
                for operand, attribute in enumerate(AXES.get(layer.contraction.name, ())):
                    _read(layer, operand, attribute)
                if layer.contraction.name == "sparsec.attention":
                    _write(layer)


def _read(layer: Layer, operand: int, attribute: str) -> None:
    value = layer.op.operands[operand]
    if isinstance(value.owner, ir.Block) or layer.axes_of(operand) is not None:
        return
    axes = _transposition(value.owner.operation)
    if axes is None or len(axes) != len(shape_of(layer.destination)):
        return
    move = value.owner.operation
    source = move.operands[0]
    if lines_of(shape_of(source), axes) is None:
        return
    layer.op.operands[operand] = source
    if not users(value):
        move.erase()
    layer.contraction.attributes[attribute] = ir.DenseI64ArrayAttr.get(list(axes))
    _permute_map(layer.op, operand, axes)


def _write(layer: Layer) -> None:
    """Let a layer write its result where the only reader would move it."""
    readers = users(layer.op.results[0])
    axes = _transposition(readers[0]) if len(readers) == 1 else None
    if axes is None or any(operand.reach is Reach.FULL for operand in layer.epilogue().operands):
        return
    move = readers[0]
    stored = tuple(axes.index(axis) for axis in range(len(axes)))
    if lines_of(shape_of(move.results[0]), stored) is None:
        return
    *operands, _ = layer.op.operands
    moved = layer_generic([*operands, move.operands[1]], layer.maps, layer.maps[0].n_dims, move)
    block, old = moved.regions[0].blocks[0], layer.op.regions[0].blocks[0]
    clone_body(
        [item.operation for item in old.operations], block, dict(zip(old.arguments, block.arguments, strict=True))
    )
    Layer(moved).contraction.attributes[RESULT_AXES] = ir.DenseI64ArrayAttr.get(list(stored))
    replace(move, [moved.results[0]])
    layer.op.erase()


def _transposition(op: ir.Operation) -> tuple[int, ...] | None:
    """Which axis of the operand is the first of the result, the second, …, if the op does nothing else than move them."""
    if op.name != "linalg.generic" or len(op.operands) != 2 or not all(parallel_loops(op)):
        return None
    block, (source, target) = op.regions[0].blocks[0], indexing_maps(op)
    first = block.operations[0].operation
    if first.name != "linalg.yield" or first.operands[0] != block.arguments[0]:
        return None
    if not (target == ir.AffineMap.get_identity(target.n_dims) and source.is_permutation):
        return None
    loops = [ir.AffineDimExpr(each).position for each in source.results]
    return tuple(loops.index(axis) for axis in range(len(loops)))


def _permute_map(op: ir.Operation, operand: int, axes: tuple[int, ...]) -> None:
    """Index an operand of a layer, whose axes were those of its matrices, by the same loops in the order of its own."""
    maps = indexing_maps(op)
    old = maps[operand]
    results = [old.results[axes.index(axis)] for axis in range(len(axes))]
    maps[operand] = ir.AffineMap.get(old.n_dims, 0, results)
    op.attributes["indexing_maps"] = ir.ArrayAttr.get([ir.AffineMapAttr.get(each) for each in maps])
