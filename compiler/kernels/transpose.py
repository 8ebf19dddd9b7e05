"""Matrices of words that are turned round, a square of as many rows as a vector has lanes at a time."""

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
from sparsec.kernels.words import FP32, Words

# (target, matrix, row, column, line, mask): stores a vector of the rows from `row` on of one column of words of a matrix; a mask
# tells which rows there are.
Put = Callable[[Buffer, Index, Index, Index, ir.Value, ir.Value | None], None]


@dataclass(frozen=True, slots=True)
class Turned:
    """`count` matrices [rows, columns] in the buffer `source`, where rows lie as `stored` says, and the buffer for their words.

    Numbers are taken times `scale`. `padded` says that there is room for whole vectors, and that what is beyond the last
    row may be anything.
    """

    count: int
    rows: int
    columns: int
    stored: Lines
    source: str
    target: str
    elements: int  # of the target
    padded: bool = False
    words: Words = FP32
    scale: float = 1.0

    def emit(self, module: ir.Module, name: str, isa: Isa, put: Put) -> Call:
        """Add the function `name`; a unit is a band of rows of one matrix."""
        words, rows, depth, stored = self.words, self.rows, self.words.count(self.columns), self.stored
        vectors = Vectors(isa.lanes(), words.dtype)
        lanes = vectors.lanes
        bands = -(-rows // lanes)
        size = self.count * rows * self.columns
        buffers = {self.source: ("f32", size), self.target: (words.dtype, self.elements)}

        def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            given, turned = memory[self.source], memory[self.target]
            with loop(begin, end) as unit:
                matrix, row = unit // bands, unit % bands * lanes
                source, height = matrix * stored.matrix, minimum(lanes, rows - row)

                def block(column: Index, left: int | None, whole: bool) -> None:
                    """Turn one block of `lanes` rows (fewer unless `whole`) and as many words, or of `left` elements."""
                    width = lanes if left is None else words.count(left)
                    lines = [
                        words.load(
                            given,
                            source + minimum(row + r, rows - 1) * stored.line + column * words.group,
                            lanes,
                            left,
                            self.scale,
                        )
                        for r in range(lanes)
                    ]
                    outside = None if whole else vectors.mask(height)
                    for c, line in enumerate(transposed(lines)[:width]):
                        put(turned, matrix, row, column + c, line, outside)

                def band(whole: bool) -> None:
                    even = self.columns // words.group // lanes * lanes
                    if even:
                        with loop(0, even, lanes) as column:
                            block(column, None, whole)
                    if even < depth:
                        block(Index(even), self.columns - even * words.group, whole)

                if rows % lanes == 0 or self.padded:
                    band(True)
                else:
                    choose(height.equals(lanes), lambda: band(True), lambda: band(False))

        define(module, name, buffers, body)
        return Call(name, tuple(buffers), self.count * bands, size)
