"""lower_rows: the nests of one kernel become a function over the threads of a GPU, and a call of it.

Before:
    linalg.generic {... addf} ins(%x : memref<32x64xf32>) outs(%sum : memref<32xf32>) attrs = {sparsec.kernel = [0, 32, 64]}
    linalg.generic {... divf} ins(%x, %sum) outs(%y : memref<32x64xf32>) attrs = {sparsec.kernel = [0, 32, 64]}
After:
    func.func private @rows_0(%x: memref<32x64xf32>, %y: memref<32x64xf32>) {
      %t = gpu.thread_id x   ...   %v = vector.load %flat[%at] : memref<2048xf32>, vector<2xf32>
      ... arith.addf ... gpu.shuffle xor ... arith.divf ... vector.store }
    func.call @rows_0(%x, %y) {grid = array<i64: 8>, block = array<i64: 128>, layer = "softmax"}

Values stay in registers between the nests; a sum is added up by each thread, then among the threads of a warp, then, of longer
rows, through shared memory. What only this kernel uses is not stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from torch_mlir import ir

from sparsec.ir.module import find, main_block, node_name
from sparsec.passes.device.functions import Functions
from sparsec.passes.device.group_rows import is_internal, kernel_of
from sparsec.passes.device.nests import Nest, Walk, nest_of
from sparsec.passes.device.row_emitter import RowEmitter
from sparsec.passes.device.threads import deal_elements, deal_rows
from sparsec.passes.unit import Unit


def lower_rows(unit: Unit) -> None:
    """Lower every kernel that `group_rows` numbered."""
    with unit.module.context, ir.Location.unknown():
        functions = Functions(unit.module, "rows")
        numbered = [op for op in find(unit.module, lambda op: op.name == "linalg.generic") if kernel_of(op) is not None]
        for (_, rows, columns), ops in groupby(numbered, lambda op: kernel_of(op) or (0, 0, 0)):
            _lower(list(ops), rows, columns, functions)
        _erase_unused(main_block(unit.module))


def _lower(ops: Sequence[ir.Operation], rows: int, columns: int, functions: Functions) -> None:
    nests = [_seen(op, rows, columns) for op in ops]
    walks = [walk for _, walked in nests for walk in walked]
    stored = [base for base in dict.fromkeys(walk.base for walk in walks) if not is_internal(base)]
    summed = any(nest.sums for nest, _ in nests)
    dealt = (deal_rows if summed else deal_elements)(rows, columns, walks)
    last = ops[-1]
    function, block = functions.open([base.type for base in stored])
    emitter = RowEmitter(dealt, columns, dict(zip(stored, block.arguments, strict=True)), block, functions)
    for nest, walked in nests:
        emitter.nest(nest, walked)
    emitter.close()
    attributes = {
        "grid": ir.DenseI64ArrayAttr.get([dealt.grid]),
        "block": ir.DenseI64ArrayAttr.get([dealt.block]),
        "layer": ir.StringAttr.get(node_name(last) or last.name),
    }
    with last.location:
        functions.call(function, stored, attributes, ir.InsertionPoint(last))
    for op in ops:
        op.erase()


def _seen(op: ir.Operation, rows: int, columns: int) -> tuple[Nest, list[Walk]]:
    nest = nest_of(op)
    walks = nest.walks(rows, columns) if nest is not None else None
    assert nest is not None, "group_rows numbers nests"
    assert walks is not None, "that are rows and columns"
    return nest, walks


def _erase_unused(block: ir.Block) -> None:
    """Take away allocations, and views of them, that were registers all along."""
    for op in reversed([item.operation for item in block.operations]):
        if op.name.startswith("memref.") and op.results and not list(op.results[0].uses):
            op.erase()
