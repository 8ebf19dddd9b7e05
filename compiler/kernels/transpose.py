"""Matrices of fp32 that are turned round, a square of as many rows as a vector has lanes at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch_mlir import ir

from sparsec.kernels.emit import Buffer, Vectors, choose, define, loop
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call
from sparsec.kernels.problem import Lines
from sparsec.kernels.store import transposed

# (target, matrix, row, column, line, mask): stores a vector of the rows from `row` on of one column of a matrix; a mask tells
# which rows there are.
Put = Callable[[Buffer, Index, Index, Index, ir.Value, ir.Value | None], None]


@dataclass(frozen=True, slots=True)
class Turned:
    """`count` matrices [rows, columns] in the buffer `source`, where rows lie as `stored` says, and the buffer for them.

    `padded` says that this has room for whole vectors, and that what is beyond the last row may be anything.
    """

    count: int
    rows: int
    columns: int
    stored: Lines
    source: str
    target: str
    elements: int  # of the target
    padded: bool = False

    def emit(self, module: ir.Module, name: str, isa: Isa, put: Put) -> Call:
        """Add the function `name`; a unit is a band of rows of one matrix."""
        vectors, rows, columns, stored = Vectors(isa.lanes()), self.rows, self.columns, self.stored
        lanes = vectors.lanes
        bands = -(-rows // lanes)
        size = self.count * rows * columns
        buffers = {self.source: ("f32", size), self.target: ("f32", self.elements)}

        def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            given, turned = memory[self.source], memory[self.target]
            with loop(begin, end) as unit:
                matrix, row = unit // bands, unit % bands * lanes
                source, height = matrix * stored.matrix, minimum(lanes, rows - row)

                def block(column: Index, width: int, whole: bool) -> None:
                    """Turn one block of `lanes` rows (fewer unless `whole`) and `width` columns."""
                    inside = vectors.mask(width)
                    lines = [
                        vectors.load(given, source + minimum(row + r, rows - 1) * stored.line + column, inside)
                        for r in range(lanes)
                    ]
                    outside = None if whole else vectors.mask(height)
                    for c, line in enumerate(transposed(lines)[:width]):
                        put(turned, matrix, row, column + c, line, outside)

                def band(whole: bool) -> None:
                    even = columns // lanes * lanes
                    if even:
                        with loop(0, even, lanes) as column:
                            block(column, lanes, whole)
                    if columns % lanes:
                        block(Index(even), columns % lanes, whole)

                if rows % lanes == 0 or self.padded:
                    band(True)
                else:
                    choose(height.equals(lanes), lambda: band(True), lambda: band(False))

        define(module, name, buffers, body)
        return Call(name, tuple(buffers), self.count * bands, size)
