"""narrow_buffers: what products make, and what they are made of, is of 16 bits between steps; inside loops it is float32.

Before:
    %a = memref.alloc() : memref<4x8xf32>
    linalg.generic {library_call = "sparsec"} ins(%x, %w) outs(%a : memref<4x8xf32>)
    linalg.generic ins(%a : memref<4x8xf32>) outs(%y : memref<4x8xf32>) { ^bb0(%in: f32, %out: f32): %0 = math.tanh %in ... }
After (precision fp16):
    %a = memref.alloc() : memref<4x8xf16>
    linalg.generic {library_call = "sparsec"} ins(%x, %w) outs(%a : memref<4x8xf16>)
    linalg.generic ins(%a : memref<4x8xf16>) outs(%y : memref<4x8xf32>) {
    ^bb0(%in: f16, %out: f32): %1 = arith.extf %in : f16 to f32   %0 = math.tanh %1 ... }

What only the nests of one kernel use (see `group_rows`) stays float32: it is in registers.
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.module import main_block
from sparsec.passes.device.buffers import can_be_half, made_by_products, narrow_argument, retype, uses_of
from sparsec.passes.device.group_rows import is_internal
from sparsec.passes.unit import Unit


def narrow_buffers(unit: Unit) -> None:
    """Narrow the buffers of `@main`."""
    with unit.module.context, ir.Location.unknown():
        half = ir.Type.parse(unit.half)
        ops = [item.operation for item in main_block(unit.module).operations]
        for buffer in made_by_products(ops):
            if can_be_half(buffer) and not is_internal(buffer):
                _narrow(buffer, half)


def _narrow(buffer: ir.Value, half: ir.Type) -> None:
    narrowed = retype(buffer, half)
    for op, position, _ in list(uses_of(narrowed)):
        if op.name == "linalg.generic":
            with op.location:
                narrow_argument(op, position, half)
