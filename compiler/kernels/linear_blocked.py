"""Linear layer with a weight of row blocks: one vector of tokens is loaded once for all rows of a block.

The block's rows times a few vectors of tokens are sums in registers: multiply-adds, not loads, are the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparsec.formats.blocked import Blocked
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Weight
from sparsec.kernels.linear_rows import LinearRows, RowsKernel
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.row_groups import RowGroups
from sparsec.kernels.schedule import HEIGHTS, block_cycles, block_unroll, most_vectors
from sparsec.kernels.sparse_rows import SparseRows, Visits
from sparsec.kernels.spmm import BlockRows
from sparsec.kernels.token_tile import TokenTiles
from sparsec.kernels.words import words_of

L2_BYTES = 384 << 10  # so much of x at a time
WIDEST = 6  # vectors of a tile: the wider, the fewer times is the weight read


@dataclass(frozen=True, slots=True)
class LinearBlocked(RowsKernel):
    """Any number of tokens, inputs and outputs; blocks that are not full are filled up with zeros."""

    kind: ClassVar[str] = "linear_blocked"
    format: ClassVar[str] = "blocked"

    def lacks(self, problem: LinearProblem, isa: Isa) -> str | None:
        return "a single token fills no vector" if problem.tokens == 1 else None

    def schedule(self, problem: Problem, weight: Weight, isa: Isa) -> LinearRows:
        """The packed weight, and how it meets x."""
        assert isinstance(problem, LinearProblem)
        words = words_of(self.arithmetic, isa)
        assert words is not None
        blocked = min(
            (Blocked.encode(weight, (height, words.group)) for height in HEIGHTS),
            key=lambda found: _cycles(found, problem, isa),
        )
        height = blocked.block[0]
        tokens = TokenTiles.of(problem, isa, most=tile_vectors(height, isa))
        columns = max(1, L2_BYTES // (4 * tokens.width))
        parts = -(-tokens.inputs // columns)
        groups = RowGroups.of(blocked.counts, problem.outputs, height, blocks=parts)
        rows = [np.arange(begin, end) for begin, end in zip(groups.starts, groups.starts[1:], strict=False)]
        places = [part - part[0] for part in rows]
        visits = Visits.of(blocked, rows, places, columns=columns if parts > 1 else None)
        offsets = blocked.columns.astype(np.int64) * tokens.width
        packed = SparseRows.pack(
            blocked.values, offsets, visits, multiple=block_unroll(height * tokens.vectors, isa), words=words
        )
        walkers = (BlockRows(packed, height, parts),)
        return LinearRows(self.name, tokens, groups, walkers, blocked.values.size * problem.tokens)


def tile_vectors(height: int, isa: Isa) -> int:
    """Vectors of the widest tile of blocks of so many rows."""
    return most_vectors(height, isa) if isa.early_loads else most_vectors(height, isa, most=WIDEST)


def _cycles(blocked: Blocked, problem: LinearProblem, isa: Isa) -> float:
    height = blocked.block[0]
    tokens = TokenTiles.of(problem, isa, most=tile_vectors(height, isa))
    return block_cycles(height, blocked.blocks, tokens.split.total, tokens.tiles)
