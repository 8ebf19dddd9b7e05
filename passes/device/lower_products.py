"""lower_products: each layer becomes a call that names what it computes, for the kernels of `sparsec.cuda`.

Before:
    linalg.generic {library_call = "sparsec"} ins(%x, %w, %bias : memref<4x8xf16>, ...) outs(%y : memref<4x2xf16>) {
      %0 = "sparsec.linear"(%xe, %we)   %1 = arith.addf %0, %b   %2 = arith.truncf %1 } attrs = {layer = "fc1"}
After:
    func.func private @product_0(memref<4x8xf16>, memref<2x8xf32>, memref<2xf32>, memref<4x2xf16>)
    func.call @product_0(%x, %w, %bias, %y) {layer = "fc1",
      product = {contraction = "sparsec.linear", operands = ["x", "w", "bias", "y"], activation = "", scale = 1.0 : f64, ...}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch_mlir import ir

from sparsec.ir.dialect import POOL
from sparsec.passes.device.tails import Tail, tail_of
from sparsec.passes.layer import Layer, layers
from sparsec.passes.lower_calls import call
from sparsec.passes.unit import Unit

PRODUCT = "product"
_ROLES: Mapping[str, Sequence[str]] = {
    "sparsec.linear": ("x", "w"),
    "sparsec.conv": ("x", "w"),
    POOL: ("x",),
    "sparsec.matmul": ("p", "q"),
    "sparsec.attention": ("q", "k", "v", "mask"),
}


def lower_products(unit: Unit) -> None:
    """Replace every layer by a call."""
    with unit.module.context, ir.Location.unknown():
        for number, layer in enumerate(layers(unit.module)):
            tail = tail_of(layer)
            assert tail is not None, "split_tails leaves no other tails"
            with layer.op.location:
                _call(layer, tail, f"product_{number}", unit.module)
            layer.op.erase()


def _call(layer: Layer, tail: Tail, name: str, module: ir.Module) -> None:
    operands = _operands(layer, tail)
    signature = ir.FunctionType.get([value.type for value in operands.values()], [])
    ir.Operation.create(
        "func.func",
        attributes={
            "sym_name": ir.StringAttr.get(name),
            "sym_visibility": ir.StringAttr.get("private"),
            "function_type": ir.TypeAttr.get(signature),
        },
        regions=1,
        ip=ir.InsertionPoint.at_block_begin(module.body),
    )
    contraction = layer.contraction
    product: dict[str, ir.Attribute] = {"scale": ir.FloatAttr.get(ir.F64Type.get(), tail.scale)}
    product |= {key: contraction.attributes[key] for key in contraction.attributes}
    product |= {
        "contraction": ir.StringAttr.get(contraction.name),
        "operands": ir.ArrayAttr.get([ir.StringAttr.get(role) for role in operands]),
        "activation": ir.StringAttr.get(tail.activation or ""),
        "residual_first": ir.BoolAttr.get(tail.residual_first),
    }
    attributes: dict[str, ir.Attribute] = {"layer": layer.op.attributes["layer"], PRODUCT: ir.DictAttr.get(product)}
    call(name, list(operands.values()), attributes, ir.InsertionPoint(layer.op))


def _operands(layer: Layer, tail: Tail) -> dict[str, ir.Value]:
    """By role, the result last."""
    found = dict(zip(_ROLES[layer.contraction.name][: layer.arity], layer.inputs, strict=False))
    if tail.bias is not None:
        found["bias"] = layer.inputs[tail.bias]
    if tail.residual is not None:
        found["residual"] = layer.inputs[tail.residual]
    return {**found, "y": layer.destination}
