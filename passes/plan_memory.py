"""plan_memory: every buffer of `@main` gets its place in one arena; buffers whose lifetimes do not meet share bytes.

Before:
    %a = memref.alloc() : memref<4x8xf32>   ...   func.call @loop_0(%x, %a, ...)   func.call @loop_1(%a, %b, ...)
After:
    %a = memref.alloc() {arena_offset = 0 : i64} : memref<4x8xf32>   ...   and `@main` has arena_bytes = 256 : i64

Greedy by size (Pisarchyk & Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020): the largest buffer
first, each at the lowest offset where it meets no buffer that is alive at the same time. The status of checks lives
during the whole run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch_mlir import ir

from sparsec.errors import UnsupportedOpError
from sparsec.ir.module import element_of, function, main_block, shape_of
from sparsec.passes.lower_asserts import STATUS
from sparsec.passes.unit import Unit

ALIGNMENT = 64  # one cache line, and one AVX-512 vector


@dataclass(slots=True)
class _Interval:
    """A buffer that is alive from call `first` to call `last`, both included."""

    op: ir.Operation
    size: int
    first: int
    last: int
    offset: int = -1


def plan_memory(unit: Unit) -> None:
    """Set `arena_offset` on each `memref.alloc` of `@main`, and `arena_bytes` on `@main`."""
    with unit.module.context, ir.Location.unknown():
        intervals = _intervals(main_block(unit.module))
        total = _place(intervals)
        i64 = ir.IntegerType.get_signless(64)
        for interval in intervals:
            interval.op.attributes["arena_offset"] = ir.IntegerAttr.get(i64, interval.offset)
        function(unit.module, "main").attributes["arena_bytes"] = ir.IntegerAttr.get(i64, total)


def buffer_bytes(value: ir.Value) -> int:
    """Bytes of a static buffer; i1 elements take one byte each."""
    if any(size < 0 for size in shape_of(value)):
        raise UnsupportedOpError(
            "the size of a tensor is only known while the network runs", where=str(value.owner.operation.location)
        )
    return math.prod(shape_of(value)) * element_bytes(element_of(value))


def element_bytes(element: ir.Type) -> int:
    if isinstance(element, ir.IndexType):
        return 8
    if isinstance(element, ir.ComplexType):
        return 2 * element_bytes(element.element_type)
    return -(-int(element.width) // 8)


def base_of(value: ir.Value) -> ir.Value:
    """The buffer behind a chain of views."""
    while not isinstance(value.owner, ir.Block) and value.owner.operation.name.startswith("memref."):
        if value.owner.operation.name == "memref.alloc":
            return value
        value = value.owner.operation.operands[0]
    return value


def _intervals(block: ir.Block) -> list[_Interval]:
    found: dict[ir.Value, _Interval] = {}
    for position, item in enumerate(block.operations):
        op = item.operation
        if op.name == "memref.alloc":
            found[op.results[0]] = _Interval(op, buffer_bytes(op.results[0]), first=-1, last=-1)
        elif op.name == "func.call":
            for operand in op.operands:
                interval = found.get(base_of(operand)) if isinstance(operand.type, ir.MemRefType) else None
                if interval is not None:
                    interval.first = position if interval.first < 0 else interval.first
                    interval.last = position
    for interval in found.values():
        if STATUS in interval.op.attributes:  # the runtime clears it before the first call and reads it after each
            interval.first, interval.last = 0, len(block.operations)
    return list(found.values())  # one that no call uses meets no other


def _place(intervals: list[_Interval]) -> int:
    """Assign offsets; returns the bytes of the arena."""
    placed: list[_Interval] = []
    for interval in sorted(intervals, key=lambda item: -item.size):
        interval.offset = _lowest_gap(interval, placed)
        placed.append(interval)
    return max((_aligned(item.offset + item.size) for item in placed), default=0)


def _lowest_gap(interval: _Interval, placed: list[_Interval]) -> int:
    offset = 0
    neighbours = [item for item in placed if item.first <= interval.last and interval.first <= item.last]
    for other in sorted(neighbours, key=lambda item: item.offset):
        if offset + interval.size <= other.offset:
            break
        offset = max(offset, _aligned(other.offset + other.size))
    return offset


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
