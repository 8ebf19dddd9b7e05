"""group_rows: neighbouring loop nests that meet each other's results only at the same row become one kernel.

Before (the maximum of each row, then what it is subtracted from):
    linalg.generic {... maximumf} ins(%x : memref<32x64xf32>) outs(%top : memref<32xf32>)
    linalg.generic {... subf, exp} ins(%x, %top) outs(%y : memref<32x64xf32>)
After:
    linalg.generic {... maximumf} ... attrs = {sparsec.kernel = [0, 32, 64]}
    linalg.generic {... subf, exp} ... attrs = {sparsec.kernel = [0, 32, 64]}

The attribute is the kernel's number, its rows and its columns. Nests that are not even in rows and columns stay for `outline`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch_mlir import ir

from sparsec.ir.module import integers, main_block
from sparsec.passes.access import VIEWS
from sparsec.passes.device.buffers import ALLOC, base_of, is_alloc, uses_of
from sparsec.passes.device.nests import Nest, Walk, nest_of
from sparsec.passes.unit import Unit

KERNEL = "sparsec.kernel"
_PASSED_OVER = (*VIEWS, ALLOC, "sparsec.weight", "arith.constant")
_MOST_COLUMNS = 1 << 15  # that a block of threads can keep in its registers
_LOOK_AHEAD = 16  # nests


def group_rows(unit: Unit) -> None:
    """Number the kernels of `@main`."""
    with unit.module.context, ir.Location.unknown():
        block = main_block(unit.module)
        _sink_fills(block)
        kernels = 0
        for run in _runs(block):
            while run:
                group = _longest(run)
                for nest in group.nests:
                    numbers = [kernels, group.rows, group.columns]
                    nest.op.attributes[KERNEL] = ir.DenseI64ArrayAttr.get(numbers)
                kernels += bool(group.nests)
                run = run[max(1, len(group.nests)) :]


def kernel_of(op: ir.Operation) -> tuple[int, int, int] | None:
    """Number, rows and columns of the kernel that an op belongs to."""
    if KERNEL not in op.attributes:
        return None
    number, rows, columns = integers(op.attributes[KERNEL])
    return number, rows, columns


def is_internal(buffer: ir.Value) -> bool:
    """True for an allocation that one kernel writes before it reads it, and nobody else uses."""
    if not is_alloc(buffer):
        return False
    users = [op for op, _, _ in uses_of(buffer) if op.name != "memref.dealloc"]
    numbers = {kernel[0] if kernel is not None else None for kernel in map(kernel_of, users)}
    return len(numbers) == 1 and None not in numbers


@dataclass(frozen=True, slots=True)
class _Group:
    """The first nests of a run, as so many rows and columns."""

    rows: int
    columns: int
    nests: Sequence[Nest]

    @property
    def preference(self) -> tuple[int, int]:
        """Of more nests, and then of longer rows."""
        return len(self.nests), self.columns


def _longest(run: Sequence[Nest]) -> _Group:
    """As many of the first nests as can be one kernel; none if the first cannot be in any."""
    shapes = {shape for nest in run[:_LOOK_AHEAD] for shape in nest.shapes}
    shapes |= {(rows, 1) for nest in run[:1] for rows in [_size(nest)]}
    return max((_group(run, rows, columns) for rows, columns in sorted(shapes)), key=lambda group: group.preference)


def _size(nest: Nest) -> int:
    size = 1
    for loop in nest.rows:
        size *= loop.count
    return size


def _group(run: Sequence[Nest], rows: int, columns: int) -> _Group:
    taken: list[Nest] = []
    met: list[Walk] = []
    for nest in run:
        walks = nest.walks(rows, columns)
        if walks is None or (nest.sums and columns > _MOST_COLUMNS) or not _may_follow(walks, met):
            break
        if taken and not _is_fill(nest) and not _shares(walks, met) and not all(map(_is_fill, taken)):
            break
        taken.append(nest)
        met += walks
    if any(nest.sums for nest in taken) and columns > _MOST_COLUMNS:
        taken = []
    return _Group(rows, columns, taken)


def _may_follow(walks: Sequence[Walk], met: Sequence[Walk]) -> bool:
    """True if whatever is written is met at the same place only."""
    every = [*met, *walks]
    return not any(
        one.base == other.base and (one.written or other.written) and one.place != other.place
        for one in walks
        for other in every
    )


def _shares(walks: Sequence[Walk], met: Sequence[Walk]) -> bool:
    known = {walk.base for walk in met}
    return any(walk.base in known for walk in walks)


def _is_fill(nest: Nest) -> bool:
    """True if it reads nothing."""
    body = nest.op.regions[0].blocks[0]
    return all(access.written for access in nest.accesses) and not any(list(each.uses) for each in body.arguments)


def _runs(block: ir.Block) -> Iterator[list[Nest]]:
    """Nests with nothing between them that does anything."""
    run: list[Nest] = []
    for op in [item.operation for item in block.operations]:
        nest = nest_of(op)
        if nest is not None:
            run.append(nest)
        elif op.name not in _PASSED_OVER:
            yield run
            run = []
    yield run


def _sink_fills(block: ir.Block) -> None:
    """Move nests that only fill a buffer to just before who uses it first."""
    ops = [item.operation for item in block.operations]
    for op in reversed(ops):
        nest = nest_of(op)
        if nest is None or not _is_fill(nest) or len(op.operands) != 1:
            continue
        users = {user for user, _, _ in uses_of(base_of(op.operands[0])) if user != op}
        at = next((each for each in ops[ops.index(op) + 1 :] if _touches(each, users)), None)
        if at is not None:
            op.move_before(at)
            ops.remove(op)
            ops.insert(ops.index(at), op)


def _touches(op: ir.Operation, users: set[ir.Operation]) -> bool:
    """True if an op of `@main` is one of these, or has one inside."""
    return any(user == op or _inside(user, op) for user in users)


def _inside(user: ir.Operation, op: ir.Operation) -> bool:
    parent = user.parent
    while parent is not None:
        if parent.operation == op:
            return True
        parent = parent.operation.parent
    return False
