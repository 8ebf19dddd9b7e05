"""Linear layer with an unstructured sparse weight: tokens along the vectors, a broadcast and a few products per nonzero.

Of reduced precision: per word of neighbouring k that has a nonzero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sparsec.formats.blocked import Blocked
from sparsec.kernels.counted_rows import CountedRows, WordRuns, step_of
from sparsec.kernels.emit import element_bytes
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Weight
from sparsec.kernels.linear_rows import LinearRows, RowsKernel
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.row_groups import SERVER, RowGroups
from sparsec.kernels.token_tile import TokenTiles

TILE_TOKENS = 64  # wider tiles mean fewer columns in a block, and so shorter visits
BLOCK_BYTES = 32 << 10
SHORT = 8  # nonzeros of a row in a block: if there are fewer, blocks twice as large, in part from L2, are faster


@dataclass(frozen=True, slots=True)
class LinearCsr(RowsKernel):
    """Any number of tokens, inputs and outputs."""

    kind: ClassVar[str] = "linear_csr"
    format: ClassVar[str] = "csr"

    def schedule(self, problem: Problem, weight: Weight, isa: Isa) -> LinearRows:
        """The packed weight, and how it meets x."""
        assert isinstance(problem, LinearProblem)
        tokens = TokenTiles.of(problem, isa, most=tile_vectors(isa))
        blocked = Blocked.encode(weight, (1, tokens.words.group))
        groups = RowGroups.of(blocked.counts, problem.outputs, least=SERVER if isa.tile_registers else 1)
        width = max(1, tokens.width * element_bytes(tokens.words.dtype) // 4)
        columns = block_columns(blocked.blocks / max(blocked.rows, 1), tokens.inputs, width)
        runs = WordRuns.of(blocked, tokens.words)
        packed = CountedRows.pack(
            runs,
            groups.starts,
            columns=columns,
            width=tokens.width,
            whole=True,
            step=step_of(isa),
            early=isa.short_queue,
        )
        return LinearRows(self.name, tokens, groups, (packed,), blocked.values.size * problem.tokens)


def block_columns(stored: float, inputs: int, width: int) -> int:
    """Columns (words) in a block of x, `width` times four bytes apart, where rows store so many in all `inputs`."""
    columns = max(1, BLOCK_BYTES // (4 * width))
    return 2 * columns if stored * columns < SHORT * inputs else columns


def tile_vectors(isa: Isa) -> int:
    """Vectors of the widest tile."""
    return max(1, min(TILE_TOKENS // isa.lanes(), isa.row_vectors))
