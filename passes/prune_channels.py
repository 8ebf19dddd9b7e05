"""prune_channels: channels that are constant or that nobody reads leave the network.

Before (filter 7 of %w1 is empty, so channel 7 of %a is the constant relu(bias[7]); column 3 of %w2 is empty):
    %a = layer conv(%x, %w1) + relu : tensor<1x8x7x7xf32>      %b = layer conv(%a, %w2) : tensor<1x4x7x7xf32>
After:
    %a = layer conv(%x, %w1') + relu : tensor<1x6x7x7xf32>     %b = layer conv(%a, %w2') + constant : tensor<1x4x7x7xf32>

What a constant channel adds to its readers is computed here: one number per filter, or a plane per filter where zero padding makes
the border differ. Planes are only folded when they save more work than adding them costs; they make weights larger, but repeat
themselves, so that a compressed transfer does not grow.

Channels of aligned blocks that stay whole come first, and those whose neighbours left come last: blocks of nonzeros in weights
stay blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.ir.module import element_of, replace, shape_of, users
from sparsec.ir.weights import weight_op, weight_types
from sparsec.kernels.epilogue import Reach
from sparsec.passes.fuse_epilogue import layer_generic
from sparsec.passes.known_channels import Array, Convolution, Known, Mask, constant_data, known_after, known_sum
from sparsec.passes.layer import Layer, clone_body, layers
from sparsec.passes.unit import Unit

_BLOCKS = (16, 8, 4)  # neighbouring channels that weights may share nonzeros in
_PLANE_COST = 3  # adding one element of a plane costs as much as this many products


@dataclass(slots=True)
class _Network:
    """The convolutions of a module, what is known before each, which sums are folded, and which channels stay."""

    unit: Unit
    convolutions: list[Convolution]
    known: dict[ir.Value, Known] = field(default_factory=dict)
    folded: dict[ir.Operation, Array] = field(
        default_factory=dict
    )  # layer -> what constant channels add [filters, *outs]
    live: dict[ir.Value, Mask] = field(default_factory=dict)

    def known_before(self, convolution: Convolution) -> Known:
        sizes = tuple(axis.size for axis in convolution.problem.axes)
        return self.known.get(convolution.x, Known.nothing(convolution.problem.channels, sizes))


def prune_channels(unit: Unit) -> None:
    """Fold constant channels into their readers, then drop every channel that no reader needs."""
    with unit.module.context, ir.Location.unknown():
        found = [Convolution.of(layer, unit) for layer in layers(unit.module)]
        network = _Network(unit, [convolution for convolution in found if convolution is not None])
        for convolution in network.convolutions:
            before = network.known_before(convolution)
            network.known[convolution.y] = known_after(convolution, before, unit)
            _fold(convolution, before, network)
        _find_live(network)
        changes = [change for convolution in network.convolutions if (change := _plan(convolution, network))]
        dropped = sum(int(np.count_nonzero(~network.live[each.y])) for each in network.convolutions)
        for change in changes:
            _rewrite(change, unit)
        if dropped:
            unit.notes.append(f"{dropped} channels that are constant or that nobody reads were folded away")


def _fold(convolution: Convolution, known: Known, network: _Network) -> None:
    """Decide whether the constant input channels of a convolution become a constant of its epilogue."""
    if not convolution.plain or not (convolution.connected & known.mask).any():
        return
    everything = np.ones(convolution.problem.filters, np.bool_)
    added = known_sum(convolution, known, everything)
    saved = np.count_nonzero(convolution.weight[:, known.mask])
    if _is_uniform(added) or (saved > _PLANE_COST * convolution.problem.filters and convolution.problem.batch == 1):
        network.folded[convolution.layer.op] = added


def _is_uniform(planes: Array) -> bool:
    flat = planes.reshape(planes.shape[0], -1)
    return bool((flat == flat[:, :1]).all())


def _remaining(convolution: Convolution, network: _Network) -> Array:
    """The weight without the columns of folded channels."""
    if convolution.layer.op not in network.folded:
        return convolution.weight
    weight = convolution.weight.copy()
    weight[:, network.known_before(convolution).mask] = 0
    return weight


def _find_live(network: _Network) -> None:
    """Which channels of each convolution's output must exist: what readers need, from the last layer back.

    A channelwise convolution has the same channels before and after, so it then keeps whatever its input keeps.
    """
    by_op = {convolution.layer.op: convolution for convolution in network.convolutions}
    for convolution in reversed(network.convolutions):
        needed = _needed(convolution, by_op, network)
        if not needed.any():
            needed[:1] = True  # a tensor without channels helps nobody
        network.live[convolution.y] = needed
    for convolution in network.convolutions:
        if convolution.channelwise:
            everything = np.ones(convolution.problem.filters, np.bool_)
            network.live[convolution.y] = network.live.get(convolution.x, everything)


def _needed(convolution: Convolution, by_op: dict[ir.Operation, Convolution], network: _Network) -> Mask:
    everything = np.ones(convolution.problem.filters, np.bool_)
    if not _can_shrink(convolution, network.unit):
        return everything
    needed = np.zeros_like(everything)
    for user in users(convolution.y):
        reader = by_op.get(user)
        if reader is None or reader.x != convolution.y or list(user.operands).count(convolution.y) != 1:
            return everything
        if reader.channelwise and not _can_shrink(reader, network.unit):
            return everything
        if reader.plain:
            connected = (_remaining(reader, network) != 0).reshape(*reader.weight.shape[:2], -1).any(axis=2)
            needed |= connected[network.live[reader.y]].any(axis=0)
        elif reader.channelwise:
            needed |= network.live[reader.y]
        else:
            return everything
    return needed


def _can_shrink(convolution: Convolution, unit: Unit) -> bool:
    """The output can lose channels if the epilogue's operands can: constants per channel or for the whole tensor."""
    layer = convolution.layer
    operands = zip(layer.inputs[layer.arity :], layer.epilogue().operands, strict=True)
    return (convolution.plain or convolution.channelwise) and all(
        operand.reach is Reach.SCALAR or (operand.reach is Reach.CHANNEL and constant_data(value, unit) is not None)
        for value, operand in operands
    )


@dataclass(frozen=True, slots=True)
class _Change:
    """What becomes of one convolution: its new weight, the filters that stay, in their order, and what is added to their sums.

    `filters` is None where all do.
    """

    layer: Layer
    weight: Array
    filters: NDArray[np.intp] | None
    added: Array | None


def _plan(convolution: Convolution, network: _Network) -> _Change | None:
    """None if nothing changes."""
    filters = network.live[convolution.y]
    channels = network.live.get(convolution.x, np.ones(convolution.problem.channels, np.bool_))
    added = network.folded.get(convolution.layer.op)
    if filters.all() and channels.all() and added is None:
        return None
    kept = in_blocks(filters)
    weight = _remaining(convolution, network)[kept]
    if convolution.plain:
        weight = weight[:, in_blocks(channels)]
    return _Change(
        convolution.layer,
        weight,
        None if filters.all() else kept,
        added[kept] if added is not None else None,
    )


def in_blocks(live: Mask) -> NDArray[np.intp]:
    """The channels that stay: first those of blocks that stay whole, large blocks before small ones."""
    whole = []
    for size in _BLOCKS:
        blocks = np.pad(live, (0, -len(live) % size)).reshape(-1, size)
        whole.append(blocks.all(axis=1).repeat(size)[: len(live)])
    order = np.lexsort([~each for each in reversed(whole)])
    return order[live[order]]


def _rewrite(change: _Change, unit: Unit) -> None:
    """Build the smaller layer in the place of the old one, whose first operand may already be smaller."""
    old = change.layer.op
    with old.location:
        x, w, *tails = change.layer.inputs
        *maps, output = change.layer.maps
        operands = [x, _stored(f"{change.layer.weight}/pruned", _as_stored(change.weight, w), w, unit)]
        reaches = [operand.reach for operand in change.layer.epilogue().operands]
        operands += [_sliced(value, reach, change, unit) for value, reach in zip(tails, reaches, strict=True)]
        if change.added is not None:
            value, indexing = _addend(change.added, output, old, unit)
            operands, maps = [*operands, value], [*maps, indexing]
        shape = list(shape_of(old.results[0]))
        shape[1] = len(change.weight)
        empty = ir.Operation.create(
            "tensor.empty",
            results=[ir.RankedTensorType.get(shape, element_of(old.results[0]))],
            ip=ir.InsertionPoint(old),
        )
        fused = layer_generic([*operands, empty.results[0]], [*maps, output], output.n_dims, old)
        _copy_body(change, fused)
    replace(old, [fused.results[0]])


def _as_stored(weight: Array, like: ir.Value) -> NDArray[np.generic]:
    """The weight in the type of `like`."""
    return weight.astype(np.int8) if str(element_of(like)) == "i8" else weight


def _stored(stem: str, array: NDArray[np.generic], like: ir.Value, unit: Unit) -> ir.Value:
    """A new weight before the users of `like`; sparse if `like` is stored sparse."""
    tensor, _ = weight_types(array, like.context)
    ip = ir.InsertionPoint(like.owner.operation)
    return weight_op(unit.weights.add(stem, array), tensor, None, loc=like.owner.operation.location, ip=ip)


def _sliced(value: ir.Value, reach: Reach, change: _Change, unit: Unit) -> ir.Value:
    """An operand of the epilogue for the filters that stay."""
    if reach is not Reach.CHANNEL or change.filters is None:
        return value
    data = constant_data(value, unit)
    assert data is not None, "only such layers lose filters"
    axis = next(axis for axis, size in enumerate(data.shape) if size != 1)
    kept = np.ascontiguousarray(np.take(data, change.filters, axis=axis))
    return _stored("epilogue", kept, value, unit)


def _addend(added: Array, output: ir.AffineMap, at: ir.Operation, unit: Unit) -> tuple[ir.Value, ir.AffineMap]:
    """The constant to add to the sums: a number per filter if its planes are uniform."""
    if _is_uniform(added):
        added = added.reshape(len(added), -1)[:, 0]
        indexing = ir.AffineMap.get(output.n_dims, 0, [ir.AffineDimExpr.get(1)])
    else:
        added = added[np.newaxis]
        indexing = ir.AffineMap.get(output.n_dims, 0, [ir.AffineConstantExpr.get(0), *list(output.results)[1:]])
    array = np.ascontiguousarray(added)
    tensor, _ = weight_types(array, at.context)
    name = unit.weights.add("constant_channels", array)
    return weight_op(name, tensor, None, loc=at.location, ip=ir.InsertionPoint(at)), indexing


def _copy_body(change: _Change, fused: ir.Operation) -> None:
    source, block = change.layer.op.regions[0].blocks[0], fused.regions[0].blocks[0]
    contraction, *tail = [op.operation for op in source.operations]
    values: dict[ir.Value, ir.Value] = dict(zip(list(source.arguments)[:-1], block.arguments, strict=False))
    clone_body([contraction], block, values)
    new = block.operations[0].operation
    if ir.IntegerAttr(new.attributes["groups"]).value > 1:
        new.attributes["groups"] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), len(change.weight))
    if change.added is not None:
        extra = block.arguments[len(block.arguments) - 2]  # the last operand before the destination
        total = ir.Operation.create(
            "arith.addf" if str(extra.type) == "f32" else "arith.addi",
            results=[extra.type],
            operands=[new.results[0], extra],
            ip=ir.InsertionPoint(block),
        )
        values[contraction.results[0]] = total.results[0]
    clone_body(tail, block, values)
