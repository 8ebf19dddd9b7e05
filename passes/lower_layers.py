"""lower_layers: each layer becomes calls of the generated functions of its chosen kernel, still in destination-passing form.

Before:
    %y = linalg.generic {library_call = "sparsec", ...} ins(%x, %w, %bias) outs(%e) attrs = {kernel = "f32_conv_csr", layer = "conv1"}
After:
    module @kernels { func.func private @f32_conv_csr_...(%x: memref<...>, ..., %begin: index, %end: index) { ... } }
    func.func private @f32_conv_csr_...(memref<...>, ..., index, index)
    %values = "sparsec.weight"() {sym_name = "conv1/values"} : () -> tensor<307xf32>
    %y = linalg.generic {library_call = "@f32_conv_csr_...", ...} ins(%x, %values, ...) outs(%e) attrs = {extent = 12, ...}

Kernels live in a module of their own, so that passes over `@main` need not look at them. The body of such a generic is a token: it
names every operand, so that bufferisation sees them read, and computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch_mlir import ir

from sparsec.ir.module import element_of, replace, shape_of
from sparsec.ir.weights import weight_op, weight_types
from sparsec.kernels.kernel import Call, LoweredLayer
from sparsec.kernels.table import KERNELS
from sparsec.passes.layer import CONTRACTION_OPERANDS, Layer, layers
from sparsec.passes.unit import Unit

CALL_PREFIX = "@"
KERNELS_MODULE = "kernels"


def lower_layers(unit: Unit) -> None:
    """Generate the kernels that `select_format` chose, and call them."""
    found = layers(unit.module)
    if not found:
        return
    with unit.module.context, ir.Location.unknown():
        kernels = _kernels_module(unit.module)
        prepared: _Prepared = {}
        for layer in found:
            _lower(layer, kernels, unit, prepared)
        for kernel in kernels.body.operations:
            _declare(kernel.operation, unit.module)


def _kernels_module(module: ir.Module) -> ir.Module:
    """An empty module `@kernels` inside `module`."""
    attributes = {"sym_name": ir.StringAttr.get(KERNELS_MODULE)}
    ip = ir.InsertionPoint.at_block_begin(module.body)
    nested = ir.Operation.create("builtin.module", attributes=attributes, regions=1, ip=ip)
    nested.regions[0].blocks.append()
    return nested.opview


def _declare(kernel: ir.Operation, module: ir.Module) -> None:
    """What callers outside `@kernels` see of a kernel."""
    attributes = {name: kernel.attributes[name] for name in ("sym_name", "sym_visibility", "function_type")}
    ip = ir.InsertionPoint(module.body.operations[1])
    ir.Operation.create("func.func", attributes=attributes, regions=1, ip=ip)


# What a function made of its operands before the products, such as a transposed x: layers with the same input share it.
_Prepared = dict[tuple[str, tuple[ir.Value, ...]], Sequence[ir.Value]]


def _lower(layer: Layer, kernels: ir.Module, unit: Unit, prepared: _Prepared) -> None:
    kernel = KERNELS[ir.StringAttr(layer.op.attributes["kernel"]).value]
    weight = unit.weights[layer.weight] if layer.weight is not None else None
    lowered = kernel.lower(kernels, layer.problem(), weight, layer.epilogue(), unit.isa)
    with layer.op.location:
        values = _named_operands(layer, lowered, unit)
        for call in lowered.calls:
            _emit_call(call, lowered, values, layer, prepared)
    replace(layer.op, [values["y"]])


def _named_operands(layer: Layer, lowered: LoweredLayer, unit: Unit) -> dict[str, ir.Value]:
    """The values behind the names that calls use: inputs, epilogue operands, packed weights."""
    x, second, *epilogue = layer.inputs
    values = {"x": x, "p": x, "q": second, **{f"epilogue.{i}": value for i, value in enumerate(epilogue)}}
    for name, array in lowered.weights.items():
        stored = unit.weights.add(f"{layer.name}/{name}", np.ascontiguousarray(array))
        tensor, _ = weight_types(array, layer.op.context)
        values[name] = weight_op(stored, tensor, None, loc=layer.op.location, ip=ir.InsertionPoint(layer.op))
    assert len(layer.inputs) == CONTRACTION_OPERANDS + len(epilogue)
    return values


def _emit_call(
    call: Call, lowered: LoweredLayer, values: dict[str, ir.Value], layer: Layer, prepared: _Prepared
) -> None:
    """One generic; names of `call` that have no value yet (scratch, y) are what it writes."""
    ip = ir.InsertionPoint(layer.op)
    written = [name for name in dict.fromkeys(call.arguments) if name not in values]
    read = [name for name in dict.fromkeys(call.arguments) if name in values]
    key = call.function, tuple(values[name] for name in read)
    if key not in prepared:
        destinations = [_destination(name, lowered.scratch, layer, ip) for name in written]
        operands = [*key[1], *destinations]
        order = [(read + written).index(name) for name in call.arguments]
        made = list(_opaque_generic(operands, len(destinations), call, order, layer, ip).results)
        if "y" in written:
            values.update(zip(written, made, strict=True))
            return
        prepared[key] = made
    values.update(zip(written, prepared[key], strict=True))


def _destination(name: str, scratch: Mapping[str, tuple[str, int]], layer: Layer, ip: ir.InsertionPoint) -> ir.Value:
    if name == "y":
        return layer.destination
    assert name in scratch, f"kernel names an unknown buffer {name!r}"
    dtype, size = scratch[name]
    empty = ir.RankedTensorType.get([size], ir.Type.parse(dtype))
    return ir.Operation.create("tensor.empty", results=[empty], ip=ip).results[0]


def _opaque_generic(
    operands: Sequence[ir.Value], outputs: int, call: Call, order: Sequence[int], layer: Layer, ip: ir.InsertionPoint
) -> ir.Operation:
    """A generic whose loops are the axes of all operands, those of the destinations parallel, the others reductions."""
    inputs = len(operands) - outputs
    ranks = [len(shape_of(operand)) for operand in operands]
    loops, maps, first = sum(ranks), [], 0
    for rank in ranks:
        maps.append(ir.AffineMap.get(loops, 0, [ir.AffineDimExpr.get(first + axis) for axis in range(rank)]))
        first += rank
    kinds = ["reduction"] * sum(ranks[:inputs]) + ["parallel"] * sum(ranks[inputs:])
    i64 = ir.IntegerType.get_signless(64)
    generic = ir.Operation.create(
        "linalg.generic",
        results=[operand.type for operand in operands[inputs:]],
        operands=list(operands),
        attributes={
            "indexing_maps": ir.ArrayAttr.get([ir.AffineMapAttr.get(item) for item in maps]),
            "iterator_types": ir.ArrayAttr.get([ir.Attribute.parse(f"#linalg.iterator_type<{k}>") for k in kinds]),
            "library_call": ir.StringAttr.get(CALL_PREFIX + call.function),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([inputs, outputs]),
            "order": ir.DenseI64ArrayAttr.get(order),
            "extent": ir.IntegerAttr.get(i64, call.extent),
            "products": ir.IntegerAttr.get(i64, call.products),
            "layer": ir.StringAttr.get(layer.name),
        },
        regions=1,
        ip=ip,
    )
    elements = [element_of(operand) for operand in operands]
    block = generic.regions[0].blocks.append(*elements, arg_locs=[ir.Location.unknown()] * len(elements))
    _token_body(block, inputs)
    return generic


def _token_body(block: ir.Block, inputs: int) -> None:
    """Each destination yields a `sparsec.linear` token of every input in turn: nothing is computed, everything is read."""
    ip = ir.InsertionPoint(block)
    tokens = []
    for destination in list(block.arguments)[inputs:]:
        token = destination
        for argument in list(block.arguments)[:inputs]:
            created = ir.Operation.create(
                "sparsec.linear", results=[destination.type], operands=[token, argument], ip=ip
            )
            token = created.results[0]
        tokens.append(token)
    ir.Operation.create("linalg.yield", operands=tokens, ip=ip)
