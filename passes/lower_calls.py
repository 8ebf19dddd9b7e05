"""lower_calls: opaque generics become calls of their kernel functions on flat buffers.

Before:
    linalg.generic {library_call = "@f32_conv_csr_...", ...} ins(%x, %values : ...) outs(%y : ...) attrs = {extent = 12, order = ...}
After:
    %0 = memref.collapse_shape %x [[0, 1, 2, 3]] : memref<1x8x4x4xf32> into memref<128xf32>   ...
    func.call @f32_conv_csr_...(%0, %values, %1, %c0, %c12) {layer = "conv1", products = 4912 : i64}
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch_mlir import ir
from torch_mlir.dialects import linalg

from sparsec.ir.module import element_of, find, integers, shape_of
from sparsec.passes.lower_layers import CALL_PREFIX
from sparsec.passes.unit import Unit


def lower_calls(unit: Unit) -> None:
    """Replace every generic that stands for a kernel call; strided operands are copied to dense buffers first."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, _is_call):
            ip = ir.InsertionPoint(op)
            with op.location:
                inputs, _ = ir.DenseI32ArrayAttr(op.attributes["operandSegmentSizes"])
                dense = [value if _is_dense(value) else _dense(value, ip) for value in op.operands]
                for value, copy in list(zip(op.operands, dense, strict=True))[:inputs]:
                    _copy(value, copy, ip)
                flat = [_flat(value, ip) for value in dense]
                order = integers(op.attributes["order"])
                extent = ir.IntegerAttr(op.attributes["extent"]).value
                bounds = [_index(bound, ip) for bound in (0, extent)]
                attributes = {name: op.attributes[name] for name in ("layer", "products")}
                function = ir.StringAttr(op.attributes["library_call"]).value.removeprefix(CALL_PREFIX)
                call(function, [*(flat[i] for i in order), *bounds], attributes, ip)
                for value, copy in list(zip(op.operands, dense, strict=True))[inputs:]:
                    _copy(copy, value, ip)
            op.erase()


def call(
    function: str, operands: Sequence[ir.Value], attributes: dict[str, ir.Attribute], ip: ir.InsertionPoint
) -> ir.Operation:
    """A `func.call` of a kernel without results."""
    return ir.Operation.create(
        "func.call",
        operands=list(operands),
        attributes={**attributes, "callee": ir.FlatSymbolRefAttr.get(function)},
        ip=ip,
    )


def _is_call(op: ir.Operation) -> bool:
    if op.name != "linalg.generic" or "library_call" not in op.attributes:
        return False
    return str(ir.StringAttr(op.attributes["library_call"]).value).startswith(CALL_PREFIX)


def _index(value: int, ip: ir.InsertionPoint) -> ir.Value:
    index = ir.IndexType.get()
    attributes = {"value": ir.IntegerAttr.get(index, value)}
    return ir.Operation.create("arith.constant", results=[index], attributes=attributes, ip=ip).results[0]


def _flat(value: ir.Value, ip: ir.InsertionPoint) -> ir.Value:
    """A dense buffer as `memref<Nxelement>`."""
    shape = shape_of(value)
    if len(shape) == 1:
        return value
    flat = ir.MemRefType.get([math.prod(shape)], element_of(value))
    i64 = ir.IntegerType.get_signless(64)
    groups = [ir.ArrayAttr.get([ir.IntegerAttr.get(i64, axis) for axis in range(len(shape))])] if shape else []
    attributes: dict[str, ir.Attribute] = {"reassociation": ir.ArrayAttr.get(groups)}
    if not shape:
        attributes["static_output_shape"] = ir.DenseI64ArrayAttr.get([1])
    name = "memref.collapse_shape" if shape else "memref.expand_shape"
    return ir.Operation.create(name, results=[flat], operands=[value], attributes=attributes, ip=ip).results[0]


def _is_dense(value: ir.Value) -> bool:
    layout = ir.MemRefType(value.type).layout
    return isinstance(layout, ir.AffineMapAttr) and bool(
        layout.value == ir.AffineMap.get_identity(len(shape_of(value)))
    )


def _dense(value: ir.Value, ip: ir.InsertionPoint) -> ir.Value:
    """A new buffer like `value`, row-major without gaps."""
    dense = ir.MemRefType.get(shape_of(value), element_of(value))
    segments = {"operandSegmentSizes": ir.DenseI32ArrayAttr.get([0, 0])}
    return ir.Operation.create("memref.alloc", results=[dense], attributes=segments, ip=ip).results[0]


def _copy(source: ir.Value, target: ir.Value, ip: ir.InsertionPoint) -> None:
    if source != target:
        with ip:
            linalg.copy(source, outs=[target])
