"""lower_layers: each layer becomes calls of the generated functions of its chosen kernel, still in destination-passing form.

Before:
    %y = linalg.generic {library_call = "sparsec", ...} ins(%x, %w, %bias) outs(%e) attrs = {kernel = "f32_conv_csr", layer = "conv1"}
After:
    module @kernels { func.func private @f32_conv_csr_...(%x: memref<...>, ..., %begin: index, %end: index) { ... } }
    func.func private @f32_conv_csr_...(memref<...>, ..., index, index)
    %values = "sparsec.weight"() {sym_name = "conv1/values"} : () -> tensor<307xf32>
    %y = linalg.generic {library_call = "@f32_conv_csr_...", ...} ins(%x, %values, ...) outs(%e) attrs = {extent = 12, ...}

Where a layer is only read by layers that copy it to tiles first, and its own kernel works in these tiles, it leaves its result as
tiles, and nobody copies (a linear layer, GELU, and the next linear layer; the keys of attention).

Kernels live in a module of their own, so that passes over `@main` need not look at them. The body of such a generic is a token: it
names every operand, so that bufferisation sees them read, and computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replace_field

import numpy as np
from torch_mlir import ir

from sparsec.ir.module import element_of, replace, shape_of, users
from sparsec.ir.weights import weight_op, weight_types
from sparsec.kernels.attention_dense import AttentionDense
from sparsec.kernels.kernel import Call, Kernel, LoweredLayer
from sparsec.kernels.linear_rows import LinearRows, RowsKernel
from sparsec.kernels.problem import AttentionProblem
from sparsec.kernels.shifted import Shifted
from sparsec.kernels.table import KERNELS
from sparsec.kernels.token_store import Y_TILES, TileStore
from sparsec.kernels.token_tile import Layout
from sparsec.passes.access import RESHAPES
from sparsec.passes.layer import Layer, is_layer, layers
from sparsec.passes.unit import Unit

CALL_PREFIX = "@"
KERNELS_MODULE = "kernels"
_KEYS = 1  # which operand of attention k is


def lower_layers(unit: Unit) -> None:
    """Generate the kernels that `select_format` chose, and call them."""
    found = layers(unit.module)
    if not found:
        return
    with unit.module.context, ir.Location.unknown():
        kernels = _kernels_module(unit.module)
        lowering = _Lowering(unit, kernels)
        for layer in found:
            lowering.lower(layer)
        assert not any(_readers(value) for value in lowering.stand_ins), "a layer copies what is in tiles already"
        for kernel in kernels.body.operations:
            declare(kernel.operation, unit.module)


def _kernels_module(module: ir.Module) -> ir.Module:
    """An empty module `@kernels` inside `module`."""
    attributes = {"sym_name": ir.StringAttr.get(KERNELS_MODULE)}
    ip = ir.InsertionPoint.at_block_begin(module.body)
    nested = ir.Operation.create("builtin.module", attributes=attributes, regions=1, ip=ip)
    nested.regions[0].blocks.append()
    return nested.opview


def kernels_of(module: ir.Module) -> ir.Module:
    """The module `@kernels` inside `module`."""
    found: ir.Module = ir.SymbolTable(module.operation)[KERNELS_MODULE]
    return found


def declare(kernel: ir.Operation, module: ir.Module) -> None:
    """What callers outside `@kernels` see of a kernel."""
    attributes = {name: kernel.attributes[name] for name in ("sym_name", "sym_visibility", "function_type")}
    ip = ir.InsertionPoint(module.body.operations[1])
    ir.Operation.create("func.func", attributes=attributes, regions=1, ip=ip)


# What a function made of its operands before the products, such as a transposed x: layers with the same input share it.
_Prepared = dict[tuple[str, tuple[ir.Value, ...]], Sequence[ir.Value]]


@dataclass(frozen=True, slots=True)
class _Lowering:
    """What layers that are lowered one after the other share."""

    unit: Unit
    kernels: ir.Module
    prepared: _Prepared = field(default_factory=dict)
    schedules: dict[ir.Operation, LinearRows] = field(default_factory=dict)
    stand_ins: list[ir.Value] = field(default_factory=list)

    def lower(self, layer: Layer) -> None:
        """Replace a layer by calls."""
        kernel, unit, schedule = self._kernel(layer), self.unit, self._schedule(layer)
        behind = self._behind(layer, schedule) if schedule is not None else None
        if schedule is not None:
            lowered = replace_field(schedule, behind=behind).lower(self.kernels, layer.epilogue(), unit.isa)
        else:
            weight = unit.weights[layer.weight] if layer.weight is not None else None
            lowered = kernel.lower(self.kernels, layer.problem(), weight, layer.epilogue(), unit.isa)
        with layer.op.location:
            values = _named_operands(layer, lowered, unit)
            for call in lowered.calls:
                _emit_call(call, lowered, values, layer, self.prepared)
            if behind is not None:
                values["y"] = self._stand_in_for(behind, layer, values[Y_TILES])
        self.schedules.pop(layer.op, None)
        replace(layer.op, [values["y"]])

    def _kernel(self, layer: Layer) -> Kernel:
        """The chosen kernel, without what it does not need."""
        kernel = KERNELS[ir.StringAttr(layer.op.attributes["kernel"]).value]
        return kernel.unwrapped(layer.problem(), self.unit.isa) if isinstance(kernel, Shifted) else kernel

    def _schedule(self, layer: Layer) -> LinearRows | None:
        """How a layer meets tiles of its input; None if its kernel has no such schedule."""
        kernel = self._kernel(layer)
        if not isinstance(kernel, RowsKernel):
            return None
        if layer.op not in self.schedules:
            assert layer.weight is not None
            weight = self.unit.weights[layer.weight]
            self.schedules[layer.op] = kernel.schedule(layer.problem(), weight, self.unit.isa)
        return self.schedules[layer.op]

    def _behind(self, layer: Layer, schedule: LinearRows) -> Layout | None:
        """How all who read a layer want its result, if it can leave it so."""
        readers = _readers(layer.op.results[0])
        wanted = [self._wanted(reader, value) for reader, value in readers]
        layouts = [each for each in wanted if each is not None]
        if not layouts or len(layouts) < len(readers) or len({each.functions(self.unit.isa) for each in layouts}) > 1:
            return None
        first = layouts[0]
        fits = first.follows(schedule.tokens) and TileStore.refuses(first, layer.epilogue()) is None
        return first if fits else None

    def _wanted(self, reader: ir.Operation, value: ir.Value) -> Layout | None:
        """How a layer reads a value that is only its x, or only its keys; None for any other op and value."""
        if not is_layer(reader):
            return None
        layer, places = Layer(reader), [place for place, operand in enumerate(reader.operands) if operand == value]
        kernel, schedule = self._kernel(layer), self._schedule(layer)
        if schedule is not None:
            return schedule.layout if places == [0] else None
        problem = layer.problem()
        if isinstance(kernel, AttentionDense) and isinstance(problem, AttentionProblem) and places == [_KEYS]:
            return kernel.keys(problem, self.unit.isa)
        return None

    def _stand_in_for(self, behind: Layout, layer: Layer, made: ir.Value) -> ir.Value:
        """A tensor in place of a layer's result, whose readers find what they would make of it made."""
        functions = behind.functions(self.unit.isa)
        steps = [_stand_in(layer) for _ in functions]
        for _, value in _readers(layer.op.results[0]):
            found = steps[0] if value == layer.op.results[0] else value
            for function, before, after in zip(functions, [found, *steps[1:]], [*steps[1:], made], strict=True):
                self.prepared[function, (before,)] = [after]
        self.stand_ins.extend(steps)
        return steps[0]


def _readers(value: ir.Value) -> list[tuple[ir.Operation, ir.Value]]:
    """Who reads a value, each with the value that it reads, which may be this one with other axes."""
    found = []
    for user in users(value):
        found += _readers(user.results[0]) if user.name in RESHAPES else [(user, value)]
    return found


def _stand_in(layer: Layer) -> ir.Value:
    """A tensor of the layer's shape that is never written: its readers take the tiles."""
    return ir.Operation.create(
        "tensor.empty", results=[layer.destination.type], ip=ir.InsertionPoint(layer.op)
    ).results[0]


# What kernels call the operands of contractions that are activations.
_ACTIVATIONS: Mapping[str, Sequence[str]] = {
    "sparsec.linear": ("x",),
    "sparsec.conv": ("x",),
    "sparsec.matmul": ("p", "q"),
    "sparsec.attention": ("q", "k", "v", "mask"),
}


def _named_operands(layer: Layer, lowered: LoweredLayer, unit: Unit) -> dict[str, ir.Value]:
    """The values behind the names that calls use: inputs, epilogue operands, packed weights."""
    values = dict(zip(_ACTIVATIONS[layer.contraction.name], layer.inputs[: layer.arity], strict=False))
    values |= {f"epilogue.{i}": value for i, value in enumerate(layer.inputs[layer.arity :])}
    for name, array in lowered.weights.items():
        stored = unit.weights.add(f"{layer.name}/{name}", np.ascontiguousarray(array))
        tensor, _ = weight_types(array, layer.op.context)
        values[name] = weight_op(stored, tensor, None, loc=layer.op.location, ip=ir.InsertionPoint(layer.op))
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
        made = list(call_generic(operands, len(destinations), call, order, layer.name, ip).results)
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


def call_generic(
    operands: Sequence[ir.Value], outputs: int, call: Call, order: Sequence[int], layer: str, ip: ir.InsertionPoint
) -> ir.Operation:
    """A generic whose loops are the axes of all operands, those of the destinations parallel, the others reductions.

    Argument number i of the function is operand `order[i]`; the last `outputs` operands are written.
    """
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
            "layer": ir.StringAttr.get(layer),
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
