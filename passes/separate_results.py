"""separate_results: `@main` returns each value once, and only values that it computed.

Before:
    return %y, %y, %x : ...            (%x is an argument)
After:
    %0 = bufferization.alloc_tensor() copy(%y) : ...   %1 = bufferization.alloc_tensor() copy(%x) : ...
    return %y, %0, %1 : ...

Results become buffers of the caller, and one buffer cannot be two of them (upstream crashes on it).
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.module import main_block
from sparsec.passes.unit import Unit


def separate_results(unit: Unit) -> None:
    """Copy repeated results, and results that are arguments."""
    with unit.module.context, ir.Location.unknown():
        *_, last = main_block(unit.module).operations
        seen: set[ir.Value] = set()
        for position, value in enumerate(last.operation.operands):
            if value in seen or isinstance(value.owner, ir.Block):
                last.operation.operands[position] = _copy(value, last.operation)
            seen.add(value)


def _copy(value: ir.Value, before: ir.Operation) -> ir.Value:
    return ir.Operation.create(
        "bufferization.alloc_tensor",
        results=[value.type],
        operands=[value],
        attributes={"operandSegmentSizes": ir.DenseI32ArrayAttr.get([0, 1, 0])},
        ip=ir.InsertionPoint(before),
    ).results[0]
