"""Loop nests as rows and columns: what a GPU's threads are dealt.

A nest of `rows` x `columns` meets, at row r and column c, element `offset + sum(stride_i * digit_i(r)) + column * c` of each
of its buffers, where the digits of r are counted by the row loops, the last one fastest. The columns of a sum are what it adds
up; of a nest without sums, they are any of its last loops that walk its buffers evenly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch_mlir import ir

from sparsec.ir.module import block_walk, element_of, shape_of
from sparsec.passes.access import Access, accesses, parallel_loops, trip_counts
from sparsec.passes.device.buffers import EXTREMES, outputs_of

LARGE = 1 << 31  # elements or threads, which kernels count in 32 bits
COMBINERS = ("arith.addf", "arith.mulf", *EXTREMES)


@dataclass(frozen=True, slots=True)
class Loop:
    """So many steps; elements that each of a nest's accesses moves on in one."""

    count: int
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a nest of rows and columns meets one buffer."""

    base: ir.Value
    offset: int
    rows: tuple[tuple[int, int], ...]  # (count, stride), the first outermost
    column: int
    written: bool

    @property
    def place(self) -> tuple[int, tuple[tuple[int, int], ...], int]:
        """Equal for two walks of as many rows if they meet the same element at the same place."""
        return self.offset, _canonical(self.rows), self.column

    @property
    def apart(self) -> bool:
        """True if different rows meet different elements."""
        reach = 0
        for count, stride in sorted(self.rows, key=lambda loop: abs(loop[1])):
            if count > 1 and abs(stride) <= reach:
                return False
            reach += abs(stride) * (count - 1)
        return True


@dataclass(frozen=True, slots=True)
class Nest:
    """A `linalg.generic` of arithmetic, and its loops of more than one step."""

    op: ir.Operation
    accesses: tuple[Access, ...]
    rows: tuple[Loop, ...]  # parallel
    sums: tuple[Loop, ...]  # reductions, as few as possible

    @property
    def shapes(self) -> set[tuple[int, int]]:
        """(rows, columns) that it can be seen as, if it has columns."""
        if self.sums:
            return {(_steps(self.rows), self.sums[0].count)}
        cuts = range(len(self.rows))
        return {(_steps(self.rows[:cut]), _steps(self.rows[cut:])) for cut in cuts if len(merged(self.rows[cut:])) == 1}

    def walks(self, rows: int, columns: int) -> list[Walk] | None:
        """Its accesses as rows and columns; where it has one value a row its columns are 0. None if it does not fit."""
        if self.sums:
            fits = (_steps(self.rows), self.sums[0].count) == (rows, columns)
            return self._walks(self.rows, self.sums[0]) if fits else None
        if _steps(self.rows) == rows:
            return self._walks(self.rows, None)
        for cut in range(len(self.rows)):
            column = merged(self.rows[cut:])
            if len(column) == 1 and (_steps(self.rows[:cut]), column[0].count) == (rows, columns):
                return self._walks(self.rows[:cut], column[0])
        return None

    def per_row(self, rows: int) -> bool:
        """True if it has one value a row."""
        return not self.sums and _steps(self.rows) == rows

    def _walks(self, rows: Sequence[Loop], column: Loop | None) -> list[Walk] | None:
        found = []
        for number, access in enumerate(self.accesses):
            assert access.offset is not None
            loops = tuple((loop.count, loop.strides[number]) for loop in rows)
            step = column.strides[number] if column is not None else 0
            walk = Walk(access.base, access.offset, loops, step, access.written)
            if walk.written and not (walk.apart and (self.sums or column is None or _clear(walk, column.count))):
                return None
            found.append(walk)
        return found


def nest_of(op: ir.Operation) -> Nest | None:
    """The nest of an op; None if it is no generic of arithmetic on buffers that it walks evenly."""
    if op.name != "linalg.generic" or "library_call" in op.attributes or not _is_arithmetic(op):
        return None
    walked = accesses(op)
    if walked is None or any(access.offset is None for access in walked):
        return None
    loops = [
        (Loop(count, tuple(access.strides[loop] for access in walked)), parallel)
        for loop, (count, parallel) in enumerate(zip(trip_counts(op), parallel_loops(op), strict=True))
    ]
    if any(count == 0 for count in trip_counts(op)):
        return None
    if any(math.prod(shape_of(access.base)) >= LARGE for access in walked):
        return None
    rows = tuple(loop for loop, parallel in loops if parallel and loop.count > 1)
    sums = merged([loop for loop, parallel in loops if not parallel and loop.count > 1])
    if len(sums) > 1 or (sums and (combiner(op) is None or not _streams(rows, sums[0], walked))):
        return None
    return Nest(op, tuple(walked), rows, tuple(sums))


def combiner(op: ir.Operation) -> ir.Operation | None:
    """The op that adds one more term to a sum (or maximum, …); None if the body does something else with it."""
    if outputs_of(op) != 1:
        return None
    block = op.regions[0].blocks[0]
    total = block.arguments[len(block.arguments) - 1]
    last = list(block.operations)[-1].operation.operands[0].owner
    users = [use.owner.operation for use in total.uses]
    if isinstance(last, ir.Block) or last.operation.name not in COMBINERS or users != [last.operation]:
        return None
    return last.operation


def merged(loops: Sequence[Loop]) -> list[Loop]:
    """The same loops, neighbours as one where every access runs on."""
    found: list[Loop] = []
    for loop in loops:
        outer = found[-1] if found else None
        if outer is not None and all(
            far == near * loop.count for far, near in zip(outer.strides, loop.strides, strict=True)
        ):
            found[-1] = Loop(outer.count * loop.count, loop.strides)
        else:
            found.append(loop)
    return found


def _canonical(rows: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    loops = merged([Loop(count, (stride,)) for count, stride in rows])
    return tuple((loop.count, loop.strides[0]) for loop in loops)


def _clear(walk: Walk, columns: int) -> bool:
    """True if different columns, too, meet different elements."""
    return Walk(walk.base, walk.offset, (*walk.rows, (columns, walk.column)), 0, walk.written).apart


def _streams(rows: Sequence[Loop], summed: Loop, walked: Sequence[Access]) -> bool:
    """True unless threads that share a sum would read far apart while threads of their own would read neighbours."""
    inputs = [number for number, access in enumerate(walked) if not access.written]
    far = any(abs(summed.strides[number]) > 1 for number in inputs)
    return not (far and any(loop.strides[number] == 1 for loop in rows for number in inputs))


def _steps(loops: Sequence[Loop]) -> int:
    return math.prod(loop.count for loop in loops)


def _is_arithmetic(op: ir.Operation) -> bool:
    """True for straight-line arithmetic on numbers that are its arguments, its results or constants."""
    inside = list(block_walk(op))
    if not all(isinstance(operand.type, ir.MemRefType) and _is_number(element_of(operand)) for operand in op.operands):
        return False
    for inner in inside:
        if not inner.name.startswith(("arith.", "math.")) and inner.name != "linalg.yield":
            return False
        if not all(_is_number(result.type) for result in inner.results):
            return False
        for operand in inner.operands:
            owner = operand.owner
            if not isinstance(owner, ir.Block) and owner.operation not in inside:
                if owner.operation.name != "arith.constant":
                    return False
            elif isinstance(owner, ir.Block) and owner != op.regions[0].blocks[0]:
                return False
    return True


def _is_number(type_: ir.Type) -> bool:
    return isinstance(type_, (ir.F16Type, ir.BF16Type, ir.F32Type, ir.F64Type, ir.IntegerType))
