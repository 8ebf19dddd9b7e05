"""Buffers that loops allocate move to the stack, or the node is refused."""

from __future__ import annotations

import pytest
from torch_mlir import ir

from sparsec.errors import UnsupportedOpError
from sparsec.ir.context import make_context
from sparsec.ir.module import block_walk, function
from sparsec.passes.stack_buffers import stack_buffers

LOOP = """
func.func @loop(%y: memref<8xf32>, %begin: index, %end: index) {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  {loop}
  return
}}
"""

SCRATCH = """scf.parallel (%i) = (%begin) to (%end) step (%c1) {{
    %a = memref.alloc() {{alignment = 64 : i64}} : memref<{shape}xf32>
    %v = memref.load %a[%c0] : memref<{shape}xf32>
    memref.store %v, %y[%i] : memref<8xf32>
    memref.dealloc %a : memref<{shape}xf32>
    scf.reduce
  }}"""

CARRIED = """%z = scf.for %i = %begin to %end step %c1 iter_args(%o = %y) -> memref<8xf32> {
    %a = memref.alloc() : memref<8xf32>
    scf.yield %a : memref<8xf32>
  }"""


def moved(loop: str) -> str:
    module = ir.Module.parse(LOOP.format(loop=loop), make_context())
    with module.context, ir.Location.unknown():
        outlined = function(module, "loop")
        nest = next(op for op in block_walk(outlined) if op.name.startswith("scf."))
        stack_buffers(nest, outlined.regions[0].blocks[0], "node")
    assert module.operation.verify()
    return str(module)


def test_a_small_buffer_moves_to_the_start_of_the_function() -> None:
    text = moved(SCRATCH.format(shape="16"))
    assert text.splitlines()[2].strip() == "%alloca = memref.alloca() {alignment = 64 : i64} : memref<16xf32>"
    assert "memref.alloc()" not in text
    assert "dealloc" not in text


@pytest.mark.parametrize("loop", [SCRATCH.format(shape="100000"), CARRIED], ids=["large", "carried"])
def test_others_are_refused_by_name(loop: str) -> None:
    with pytest.raises(UnsupportedOpError) as refusal:
        moved(loop)
    assert refusal.value.where == "node"
