"""split_rounding: rounding to 16 bits at the end of a loop becomes a loop of its own, so that what is before it may join a layer.

Before:
    %y = linalg.generic {...} ins(%a, %b) outs(%e : tensor<4x8xf16>) { %0 = arith.addf %in, %in_0   %1 = arith.truncf %0   linalg.yield %1 }
After:
    %s = linalg.generic {...} ins(%a, %b) outs(%f : tensor<4x8xf32>) { %0 = arith.addf %in, %in_0   linalg.yield %0 }
    %y = linalg.generic {...} ins(%s) outs(%e : tensor<4x8xf16>) { %1 = arith.truncf %in   linalg.yield %1 }

What does not join a layer is one kernel again (`group_rows`).
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.module import find, replace, shape_of
from sparsec.passes.access import parallel_loops
from sparsec.passes.elementwise import empty, mapped
from sparsec.passes.layer import clone_body
from sparsec.passes.unit import Unit


def split_rounding(unit: Unit) -> None:
    """Split every element-wise generic that rounds what it has computed."""
    with unit.module.context, ir.Location.unknown():
        half = ir.Type.parse(unit.half)
        for op in find(unit.module, lambda op: op.name == "linalg.generic" and len(op.results) == 1):
            *inner, end = [each.operation for each in op.regions[0].blocks[0].operations]
            rounds = bool(inner) and inner[-1].name == "arith.truncf" and end.operands[0] == inner[-1].results[0]
            if rounds and len(inner) > 1 and all(parallel_loops(op)) and inner[-1].results[0].type == half:
                with op.location:
                    _split(op)


def _split(op: ir.Operation) -> None:
    *inner, _ = [each.operation for each in op.regions[0].blocks[0].operations]
    rounding = inner[-1]
    wide, result = rounding.operands[0].type, op.results[0]
    ip = ir.InsertionPoint(op)
    kind = ir.RankedTensorType.get(shape_of(result), wide)
    *inputs, _ = op.operands
    attributes = {name: op.attributes[name] for name in op.attributes}
    computed = ir.Operation.create(
        "linalg.generic", results=[kind], operands=[*inputs, empty(kind, ip)], attributes=attributes, regions=1, ip=ip
    )
    old = op.regions[0].blocks[0]
    types = [*(argument.type for argument in list(old.arguments)[:-1]), wide]
    block = computed.regions[0].blocks.append(*types, arg_locs=[op.location] * len(types))
    values: dict[ir.Value, ir.Value] = dict(zip(old.arguments, block.arguments, strict=True))
    clone_body(inner[:-1], block, values)
    last = values.get(rounding.operands[0], rounding.operands[0])
    ir.Operation.create("linalg.yield", operands=[last], ip=ir.InsertionPoint(block))

    def rounded(x: ir.Value, inside: ir.InsertionPoint) -> ir.Value:
        return ir.Operation.create("arith.truncf", results=[rounding.results[0].type], operands=[x], ip=inside).results[
            0
        ]

    replace(op, [mapped(computed.results[0], result.type, rounded, ip)])
