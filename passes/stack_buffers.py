"""stack_buffers: a small buffer that a loop allocates for itself moves to the stack of the loop's function.

Before:
    scf.parallel (%i) = ... { %a = memref.alloc() : memref<4xf32>  ... }
After:
    %a = memref.alloca() : memref<4xf32>   scf.parallel (%i) = ... { ... }

Kernels cannot allocate: the runtime offers no malloc. Iterations may share the bytes unless a buffer outlives its own.
"""

from __future__ import annotations

import math

from torch_mlir import ir

from sparsec.errors import UnsupportedOpError
from sparsec.ir.module import block_walk, element_of, shape_of, users
from sparsec.passes.plan_memory import element_bytes

LIMIT = 16 << 10  # bytes per function; threads have stacks of megabytes, but a caller's may be small


def stack_buffers(op: ir.Operation, entry: ir.Block, where: str) -> None:
    """Move the allocations nested in `op` to the start of `entry`; raises `UnsupportedOpError` that names `where`."""
    found = [inner for inner in block_walk(op) if inner.name in ("memref.alloc", "memref.alloca")]
    if not found:
        return
    size = sum(math.prod(shape_of(each.results[0])) * element_bytes(element_of(each.results[0])) for each in found)
    if size > LIMIT:
        raise UnsupportedOpError(
            "a loop needs a buffer of its own that is too large for the stack",
            where=where,
            expected=f"at most {LIMIT} bytes",
            got=f"{size} bytes",
        )
    if any(_hands_on_buffers(inner) for inner in (op, *block_walk(op))):
        raise UnsupportedOpError("a loop hands a buffer on from one iteration to the next", where=where)
    for each in found:
        _to_stack(each, entry)


def _hands_on_buffers(op: ir.Operation) -> bool:
    return bool(op.regions) and any(isinstance(result.type, ir.MemRefType) for result in op.results)


def _to_stack(alloc: ir.Operation, entry: ir.Block) -> None:
    for user in users(alloc.results[0]):
        if user.name == "memref.dealloc":
            user.erase()
    attributes = {name: alloc.attributes[name] for name in alloc.attributes}
    buffer = ir.Operation.create(
        "memref.alloca",
        results=[alloc.results[0].type],
        attributes=attributes,
        loc=alloc.location,
        ip=ir.InsertionPoint.at_block_begin(entry),
    )
    alloc.results[0].replace_all_uses_with(buffer.results[0])
    alloc.erase()
