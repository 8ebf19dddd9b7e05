"""The status of checks shares its bytes with no buffer, early or late."""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.context import make_context
from sparsec.ir.weights import WeightStore
from sparsec.kernels.isa import Isa
from sparsec.passes.plan_memory import plan_memory
from sparsec.passes.unit import Unit

MAIN = """
func.func private @f(memref<4xf32>, memref<4xf32>)
func.func private @g(memref<4xf32>, memref<4xf32>, memref<i64>)
func.func @main(%x: memref<4xf32>, %y: memref<4xf32>) {
  %status = memref.alloc() {sparsec.status} : memref<i64>
  %a = memref.alloc() : memref<4xf32>
  %b = memref.alloc() : memref<4xf32>
  %c = memref.alloc() : memref<4xf32>
  call @f(%x, %a) : (memref<4xf32>, memref<4xf32>) -> ()
  call @g(%a, %b, %status) : (memref<4xf32>, memref<4xf32>, memref<i64>) -> ()
  call @f(%b, %c) : (memref<4xf32>, memref<4xf32>) -> ()
  call @f(%c, %y) : (memref<4xf32>, memref<4xf32>) -> ()
  return
}
"""


def test_the_status_lives_during_the_whole_run() -> None:
    module = ir.Module.parse(MAIN, make_context())
    plan_memory(Unit(module, WeightStore(), Isa("avx2", 32, 16, False)))
    allocations = [line for line in str(module).splitlines() if "memref.alloc" in line]
    status, *others = [int(line.split("arena_offset = ")[1].split()[0]) for line in allocations]
    assert status not in others
    assert len(set(others)) == 2, "buffers that do not meet share bytes"
