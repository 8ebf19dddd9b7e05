"""Linear layer with a weight in parts: bundles of four and of two rows, which share the loads of x, and single nonzeros.

Of bytes: the same of words of four neighbouring k that have a nonzero, but no bundles of four.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from sparsec.formats.blocked import Blocked
from sparsec.formats.csr import Csr
from sparsec.formats.matching import Sharing
from sparsec.formats.split import FOURS, SHARINGS, WORD_SHARINGS, Split
from sparsec.kernels.counted_rows import OFFSETS, CountedRows, Runs, step_of
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Weight
from sparsec.kernels.linear_csr import BLOCK_BYTES, block_columns, tile_vectors
from sparsec.kernels.linear_rows import LinearRows, RowsKernel
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.row_groups import RowGroups
from sparsec.kernels.schedule import most_vectors
from sparsec.kernels.token_tile import TokenTiles
from sparsec.kernels.words import Words, words_of


@dataclass(frozen=True, slots=True)
class LinearSplit(RowsKernel):
    """Any number of inputs and outputs, at least two tokens."""

    kind: ClassVar[str] = "linear_split"
    format: ClassVar[str] = "split"

    def lacks(self, problem: LinearProblem, isa: Isa) -> str | None:
        return "a single token fills no vector" if problem.tokens == 1 else None

    def schedule(self, problem: Problem, weight: Weight, isa: Isa) -> LinearRows:
        """The packed weight, and how it meets x."""
        assert isinstance(problem, LinearProblem)
        words = words_of(problem.arithmetic, isa)
        assert words is not None
        csr = _encoded(weight, words)
        groups = RowGroups.of(csr.counts, problem.outputs)
        tokens, split = _plan(problem, csr, groups, isa, SHARINGS if words.plain else WORD_SHARINGS)
        columns = block_columns(split.rest.nnz / max(csr.rows, 1), tokens.inputs, tokens.width)

        def pack(part: Runs, columns: int, *, whole: bool = False) -> CountedRows:
            step, early = step_of(isa), isa.short_queue
            return CountedRows.pack(
                part, groups.starts, columns=columns, width=tokens.width, whole=whole, step=step, early=early
            )

        bundles = [pack(part, span_of(part.height, tokens.width)) for part in split.bundles if len(part.members)]
        walkers = (pack(split.rest, columns, whole=True), *bundles)
        return LinearRows(self.name, tokens, groups, walkers, words.group * split.nnz * problem.tokens)


def _encoded(weight: Weight, words: Words) -> Csr:
    """The nonzeros of each row, or the words that have any."""
    if words.plain:
        return Csr.encode(weight)
    blocked = Blocked.encode(weight, (1, words.group))
    shape = (blocked.rows, words.count(math.prod(blocked.shape[1:])))
    values = words.encode_blocks(blocked).reshape(-1).astype(np.int32)
    return Csr(shape, values, blocked.columns, blocked.pointers)


def _plan(
    problem: LinearProblem, csr: Csr, groups: RowGroups, isa: Isa, sharings: Sequence[Sharing]
) -> tuple[TokenTiles, Split]:
    """The tallest bundles that there are, and tiles that leave registers for their sums."""
    for number, sharing in enumerate(sharings):
        tokens = TokenTiles.of(problem, isa, most=most_vectors(sharing.height, isa))
        spans = [replace(each, span=span_of(each.height, tokens.width)) for each in sharings[number:]]
        split = Split.encode(csr, groups=groups.starts, sharings=spans)
        if len(split.bundles[0].members):
            return tokens, split
    return TokenTiles.of(problem, isa, most=tile_vectors(isa)), Split((), csr)


def span_of(height: int, width: int) -> int:
    """Columns, `width` elements of x apart, for which bundles of so many rows are chosen: a block of x.

    That of tall bundles is as long as offsets allow: multiply-adds are their limit, not loads, so x may come from L2.
    """
    return max(1, OFFSETS // width if height == FOURS.height else BLOCK_BYTES // (4 * width))
