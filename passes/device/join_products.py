"""join_products: linear layers of one input become one layer, of which each takes its part.

Before:
    %q = linalg.generic {library_call = "sparsec"} ins(%x, %wq, %bq) outs(%e : tensor<2x16x64xf32>) { "sparsec.linear" + bias }
    %k = linalg.generic {library_call = "sparsec"} ins(%x, %wk, %bk) outs(%f : tensor<2x16x64xf32>) { "sparsec.linear" + bias }
After:
    %w = "sparsec.weight"() {sym_name = "wq+wk"}   %b = "sparsec.weight"() {sym_name = "wq+wk/bias"} : () -> tensor<128xf32>
    %y = linalg.generic {library_call = "sparsec"} ins(%x, %w, %b) outs(%g : tensor<2x16x128xf32>) { "sparsec.linear" + bias }
    %q = tensor.extract_slice %y[0, 0, 0] [2, 16, 64] [1, 1, 1]   %k = tensor.extract_slice %y[0, 0, 64] [2, 16, 64] [1, 1, 1]

One product of many outputs keeps all multiprocessors busy where several small ones would leave some idle at their ends. Weights
are joined where they are alike: as sparse, or of two nonzeros in four, all of them or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.ir.module import element_of, replace, shape_of
from sparsec.ir.weights import WEIGHT_OP, weight_name, weight_op, weight_types
from sparsec.passes.device.tails import Tail, tail_of
from sparsec.passes.elementwise import empty
from sparsec.passes.fuse_epilogue import layer_generic
from sparsec.passes.layer import Layer, layers
from sparsec.passes.unit import Unit

_ALIKE = 0.05  # how far densities may be apart


def join_products(unit: Unit) -> None:
    """Join the layers of each input that do nothing but add a bias."""
    with unit.module.context, ir.Location.unknown():
        inputs: dict[ir.Value, list[Layer]] = {}
        for layer in layers(unit.module):
            if _joins(layer):
                inputs.setdefault(layer.inputs[0], []).append(layer)
        for found in inputs.values():
            for alike in _alike(found, unit):
                if len(alike) > 1:
                    with alike[0].op.location:
                        _join(alike, unit)


def _joins(layer: Layer) -> bool:
    tail = tail_of(layer)
    plain = tail is not None and tail == Tail(bias=tail.bias)
    known = tail is None or tail.bias is None or _is_constant(layer.inputs[tail.bias])
    return layer.contraction.name == "sparsec.linear" and plain and known


def _alike(found: Sequence[Layer], unit: Unit) -> list[list[Layer]]:
    """Layers whose weights may be one."""
    groups: list[list[Layer]] = []
    for layer in found:
        facts = unit.facts(layer.weight or "")
        for group in groups:
            other = unit.facts(group[0].weight or "")
            if facts.pattern == other.pattern or abs(facts.density - other.density) < _ALIKE:
                group.append(layer)
                break
        else:
            groups.append([layer])
    return groups


def _join(found: Sequence[Layer], unit: Unit) -> None:
    first = found[0]
    names = [each.weight or "" for each in found]
    stem = "+".join(names)
    sizes = [shape_of(each.destination)[-1] for each in found]
    operands = [
        first.inputs[0],
        _weight(np.concatenate([unit.weights.dense(name) for name in names]), stem, first, unit),
    ]
    biases = [_bias(layer, size, unit) for layer, size in zip(found, sizes, strict=True)]
    if any(bias.any() for bias in biases):
        operands.append(_weight(np.concatenate(biases), f"{stem}/bias", first, unit))
    result = _layer(first, operands, sum(sizes))
    parts = [_part(result, size, start, first.op) for size, start in zip(sizes, accumulate([0, *sizes]), strict=False)]
    for layer, part in zip(found, parts, strict=True):
        replace(layer.op, [part])


def _layer(first: Layer, operands: Sequence[ir.Value], size: int) -> ir.Value:
    """The joined layer in the place of the first."""
    shape, rank = [*shape_of(first.destination)[:-1], size], len(shape_of(first.destination))
    kind = ir.RankedTensorType.get(shape, element_of(first.destination))
    ip = ir.InsertionPoint(first.op)
    x, w, *bias = operands
    loops = first.maps[0].n_dims
    channel = ir.AffineMap.get(loops, 0, [ir.AffineDimExpr.get(rank - 1)])
    maps = [*first.maps[:2], *[channel] * len(bias), first.maps[-1]]
    joined = layer_generic([x, w, *bias, empty(kind, ip)], maps, loops, first.op)
    block = joined.regions[0].blocks[0]
    contraction = first.contraction
    attributes = {name: contraction.attributes[name] for name in contraction.attributes}
    with ir.InsertionPoint(block), contraction.location:
        total = ir.Operation.create(
            contraction.name,
            results=[contraction.results[0].type],
            operands=list(block.arguments)[:2],
            attributes=attributes,
        ).results[0]
        value = arith.addf(total, block.arguments[2]) if bias else total
        ir.Operation.create("linalg.yield", operands=[value])
    return joined.results[0]


def _part(joined: ir.Value, size: int, start: int, before: ir.Operation) -> ir.Value:
    shape = [*shape_of(joined)[:-1], size]
    attributes = {
        "static_offsets": ir.DenseI64ArrayAttr.get([0] * (len(shape) - 1) + [start]),
        "static_sizes": ir.DenseI64ArrayAttr.get(shape),
        "static_strides": ir.DenseI64ArrayAttr.get([1] * len(shape)),
        "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 0, 0, 0]),
    }
    kind = ir.RankedTensorType.get(shape, element_of(joined))
    ip = ir.InsertionPoint(before)
    return ir.Operation.create(
        "tensor.extract_slice", results=[kind], operands=[joined], attributes=attributes, ip=ip
    ).results[0]


def _weight(array: NDArray[np.generic], stem: str, at: Layer, unit: Unit) -> ir.Value:
    tensor, _ = weight_types(array, at.op.context)
    return weight_op(unit.weights.add(stem, array), tensor, None, loc=at.op.location, ip=ir.InsertionPoint(at.op))


def _bias(layer: Layer, size: int, unit: Unit) -> NDArray[np.generic]:
    tail = tail_of(layer)
    if tail is None or tail.bias is None:
        return np.zeros(size, np.float32)
    op = layer.inputs[tail.bias].owner.operation
    array = unit.weights.dense(weight_name(op)) if op.name == WEIGHT_OP else np.array(op.attributes["value"])
    return np.broadcast_to(array.reshape(-1), (size,))


def _is_constant(value: ir.Value) -> bool:
    owner = value.owner
    return not isinstance(owner, ir.Block) and owner.operation.name in (WEIGHT_OP, "arith.constant")
