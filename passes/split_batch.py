"""split_batch: a network whose samples do not meet becomes one of a single sample, if that keeps its activations in caches.

Before:
    func.func @main(%x: tensor<8x3x224x224xf32>) -> tensor<8x1000xf32> { ... }
After:
    func.func @main(%x: tensor<1x3x224x224xf32>) -> tensor<1x1000xf32> attributes {samples = 8 : i64} { ... }

What a layer leaves of a whole batch is in memory when the next one reads it, that of one sample is in a cache.
`repeat_samples` gives every sample its turn once kernels are chosen. Samples are along the first axis, which may also count
what each sample has several of; whatever is not known to keep them apart stops the pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from torch_mlir import ir

from sparsec.errors import UnsupportedOpError
from sparsec.ir.module import block_walk, element_of, function, integers, main_block, shape_of, users
from sparsec.passes.access import RESHAPES, indexing_maps, parallel_loops
from sparsec.passes.layer import Layer, is_layer, layers
from sparsec.passes.plan_memory import buffer_bytes
from sparsec.passes.select_format import decide, facts_of_layer
from sparsec.passes.unit import Unit

_SLICES = ("tensor.extract_slice", "tensor.insert_slice")
_OPERANDS = 3  # of attention that may be read in another order: q, k and v
SAMPLES = "samples"  # the attribute of `@main`: how many there are of the one that it computes
_MOST_TURNS = 64  # each is code of its own, and of twice as many some passes take four times as long
_CACHED = 4  # an operation finds its operands in L3 if they take at most such a part of it


def split_batch(unit: Unit) -> None:
    """Make `@main` a network of one sample where that is possible, and predicted to be faster."""
    with unit.module.context, ir.Location.unknown():
        block = main_block(unit.module)
        count = _samples(block)
        activations = _activations(block, count) if 1 < count <= _MOST_TURNS else None
        saved = _saved_ns(block, activations, unit) if activations is not None else 0.0
        if activations is None or not saved:
            return
        wholes, together = {value: value.type for value in activations}, _predicted_ns(unit)
        _retype(block, {value: resized(value, shape_of(value)[0] // count) for value in activations})
        # What samples share, as weights, is read again for each.
        if not count * _predicted_ns(unit) - together < saved:
            _retype(block, wholes)
            return
        restate(unit.module)
        function(unit.module, "main").attributes[SAMPLES] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), count)


def resized(value: ir.Value, size: int) -> ir.Type:
    """The type of a tensor with another first size."""
    return ir.RankedTensorType.get([size, *shape_of(value)[1:]], element_of(value))


def restate(module: ir.Module) -> None:
    """Let the type of `@main` be that of its arguments and results."""
    block = main_block(module)
    *_, end = block.operations
    kinds = ir.FunctionType.get(
        [argument.type for argument in block.arguments], [value.type for value in end.operation.operands]
    )
    function(module, "main").attributes["function_type"] = ir.TypeAttr.get(kinds)


def _retype(block: ir.Block, kinds: Mapping[ir.Value, ir.Type]) -> None:
    """Give tensors these types, and attributes that name sizes those of the types."""
    for value, kind in kinds.items():
        value.set_type(kind)
    for op in (item.operation for item in block.operations):
        if op.name == "tensor.expand_shape" and op.results[0] in kinds:
            op.attributes["static_output_shape"] = ir.DenseI64ArrayAttr.get(shape_of(op.results[0]))
        if op.name in _SLICES and op.operands[0] in kinds:
            sizes = integers(op.attributes["static_sizes"])
            op.attributes["static_sizes"] = ir.DenseI64ArrayAttr.get([shape_of(op.operands[0])[0], *sizes[1:]])


def _samples(block: ir.Block) -> int:
    """The first size of all inputs; 1 if they have none in common."""
    firsts = {shape_of(argument)[:1] for argument in block.arguments}
    return firsts.pop()[0] if len(firsts) == 1 and () not in firsts else 1


def _activations(block: ir.Block, count: int) -> set[ir.Value] | None:
    """Every tensor that has the samples along its first axis; None if somewhere these may meet."""
    *ops, end = [item.operation for item in block.operations]
    found, before = set[ir.Value](block.arguments), 0
    while len(found) > before:
        before = len(found)
        for op in ops:
            if found.isdisjoint((*op.operands, *op.results)):
                continue
            together = _together(op, found)
            if together is None or not all(_divides(count, value) for value in together):
                return None
            found.update(together)
    inside = all(user.block == block for value in found for user in users(value))
    return found if inside and found.issuperset(end.operands) else None


def _divides(count: int, value: ir.Value) -> bool:
    """Whether a tensor's first axis may have so many samples."""
    shape = shape_of(value)
    return bool(shape) and shape[0] % count == 0


def _together(op: ir.Operation, found: set[ir.Value]) -> Iterable[ir.Value] | None:
    """Which operands and results have samples if those of `found` have; None if the op may mix samples."""
    values = (*op.operands, *op.results)
    if op.name == "tensor.empty":
        return values
    if op.name in RESHAPES:
        return values
    if op.name in _SLICES:
        offsets, strides = (integers(op.attributes[name])[0] for name in ("static_offsets", "static_strides"))
        firsts = {
            integers(op.attributes["static_sizes"])[0],
            *(shape_of(value)[0] for value in values if shape_of(value)),
        }
        return values if (offsets, strides, len(firsts)) == (0, 1, 1) and not _is_dynamic(op) else None
    if op.name == "tensor.concat":
        return values if ir.IntegerAttr(op.attributes["dim"]).value else None
    if op.name == "tensor.pad":
        ends = [integers(op.attributes[name])[0] for name in ("static_low", "static_high")]
        return (op.operands[0], *op.results) if ends == [0, 0] else None
    if op.name != "linalg.generic":
        return None
    return _together_in_layer(Layer(op), found) if is_layer(op) else _together_in_loops(op, found, 0)


def _together_in_layer(layer: Layer, found: set[ir.Value]) -> Iterable[ir.Value] | None:
    """The same of a layer, whose contraction says by its kind which axes of its operands are samples'."""
    op, (x, second, *more) = layer.op, layer.inputs[: layer.arity]
    match layer.contraction.name:
        case "sparsec.conv" | "sparsec.linear" if layer.weight is not None:
            contracted = [x]
        case "sparsec.matmul" if len(shape_of(x)) == 2 and layer.axes_of(0) is None and second not in found:
            contracted = [x]
        case "sparsec.matmul" | "sparsec.attention" if len(shape_of(x)) == len(shape_of(second)) > 2:
            contracted = [x, second, *(value for value in more if shape_of(value)[0] > 1)]
            if any((layer.axes_of(number) or (0,))[0] for number in range(min(len(contracted), _OPERANDS))):
                return None
        case _:
            return None
    others = _together_in_loops(op, found.union(op.results), layer.arity)
    return None if others is None else [*contracted, *others]


def _together_in_loops(op: ir.Operation, found: set[ir.Value], begin: int) -> list[ir.Value] | None:
    """The same of a generic, whose operands from number `begin` on are indexed by its loops as its indexing maps say."""
    outputs = len(op.results)
    operands, maps = list(op.operands)[begin:], indexing_maps(op)[begin:]
    beside = [None] * (len(operands) - outputs) + list(op.results)
    firsts = {
        _loop(indexing)
        for value, result, indexing in zip(operands, beside, maps, strict=True)
        if {value, result} & found
    }
    loop = firsts.pop() if len(firsts) == 1 else None
    if loop is None or not parallel_loops(op)[loop] or _numbers(op, loop):
        return None
    together: list[ir.Value] = []
    for value, indexing in zip(operands, maps, strict=True):
        used = [_uses(index, loop) for index in indexing.results]
        if any(used[1:]) or (any(used) and _loop(indexing) != loop):
            return None
        together += [value] if any(used) else []
    return [*together, *op.results] if set(operands[-outputs:]) <= set(together) else None


def _is_dynamic(slices: ir.Operation) -> bool:
    """Whether operands say what a slice is of."""
    return len(slices.operands) > (1 if slices.name == "tensor.extract_slice" else 2)


def _loop(indexing: ir.AffineMap) -> int | None:
    """The loop that walks the first axis, if it is one."""
    first = indexing.results[0] if len(indexing.results) else None
    return first.position if isinstance(first, ir.AffineDimExpr) else None


def _uses(index: ir.AffineExpr, loop: int) -> bool:
    if isinstance(index, ir.AffineDimExpr):
        return bool(index.position == loop)
    return isinstance(index, ir.AffineBinaryExpr) and (_uses(index.lhs, loop) or _uses(index.rhs, loop))


def _numbers(op: ir.Operation, loop: int) -> bool:
    """Whether a body asks for the number of a sample."""
    asked = [inner for inner in block_walk(op) if inner.name == "linalg.index"]
    return any(ir.IntegerAttr(inner.attributes["dim"]).value == loop for inner in asked)


def _saved_ns(block: ir.Block, activations: set[ir.Value], unit: Unit) -> float:
    """What reading activations costs more from memory than from L3, of operations for which L3 is too small."""
    machine = unit.machine
    sizes = [
        sum(buffer_bytes(value) for value in activations.intersection(item.operation.operands))
        for item in block.operations
    ]
    moved = sum(size for size in sizes if size > machine.l3_bytes / _CACHED)
    return max(moved * (1 / machine.memory_bytes_per_cycle - 1 / machine.far_bytes_per_cycle) / machine.ghz, 0.0)


def _predicted_ns(unit: Unit) -> float:
    """All layers, each by its best kernel; endless if one has none."""
    try:
        reports = [
            decide(
                layer.contraction.name,
                layer.problem(),
                facts_of_layer(layer, unit),
                unit.isa,
                unit.machine,
                dense_only=unit.dense_only,
                kernels=unit.kernels,
            )
            for layer in layers(unit.module)
        ]
    except UnsupportedOpError:
        return math.inf
    return sum(report.predicted_ns for report in reports)
