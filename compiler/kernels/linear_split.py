"""Linear layer with a weight in parts: bundles of four and of two rows, which share the loads of x, and single nonzeros."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparsec.formats.csr import Csr
from sparsec.formats.split import FOURS, PAIRS, Split
from sparsec.kernels.arithmetic import F32
from sparsec.kernels.counted_rows import OFFSETS, CountedRows, Runs, step_of
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Weight
from sparsec.kernels.linear_csr import BLOCK_BYTES, block_columns, tile_vectors
from sparsec.kernels.linear_rows import LinearRows, RowsKernel
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.row_groups import RowGroups
from sparsec.kernels.spmm import most_vectors
from sparsec.kernels.token_tile import TokenTiles
from sparsec.kernels.words import refusal

SHARINGS = (FOURS, PAIRS)


@dataclass(frozen=True, slots=True)
class LinearSplit(RowsKernel):
    """Any number of inputs and outputs, at least two tokens."""

    name: str = "f32_linear_split"
    format: str = "split"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if not isinstance(problem, LinearProblem):
            return "only linear layers"
        if problem.tokens == 1:
            return "a single token fills no vector"
        return refusal(problem.arithmetic, F32, isa)

    def schedule(self, problem: Problem, weight: Weight, isa: Isa) -> LinearRows:
        """The packed weight, and how it meets x."""
        assert isinstance(problem, LinearProblem)
        csr = Csr.encode(weight)
        groups = RowGroups.of(csr.counts, problem.outputs)
        tokens, split = _plan(problem, csr, groups, isa)
        columns = block_columns(split.rest.nnz / max(csr.rows, 1), tokens.inputs, tokens.width)

        def pack(part: Runs, columns: int, *, whole: bool = False) -> CountedRows:
            step, early = step_of(isa), isa.short_queue
            return CountedRows.pack(
                part, groups.starts, columns=columns, width=tokens.width, whole=whole, step=step, early=early
            )

        bundles = [pack(part, span_of(part.height, tokens.width)) for part in split.bundles if len(part.members)]
        walkers = (pack(split.rest, columns, whole=True), *bundles)
        return LinearRows(self.name, tokens, groups, walkers, split.nnz * problem.tokens)


def _plan(problem: LinearProblem, csr: Csr, groups: RowGroups, isa: Isa) -> tuple[TokenTiles, Split]:
    """The tallest bundles that there are, and tiles that leave registers for their sums."""
    for number, sharing in enumerate(SHARINGS):
        tokens = TokenTiles.of(problem, isa, most=most_vectors(sharing.height, isa))
        spans = [replace(each, span=span_of(each.height, tokens.width)) for each in SHARINGS[number:]]
        split = Split.encode(csr, groups=groups.starts, sharings=spans)
        if len(split.bundles[0].members):
            return tokens, split
    return TokenTiles.of(problem, isa, most=tile_vectors(isa)), Split((), csr)


def span_of(height: int, width: int) -> int:
    """Columns, `width` elements of x apart, for which bundles of so many rows are chosen: a block of x.

    That of tall bundles is as long as offsets allow: multiply-adds are their limit, not loads, so x may come from L2.
    """
    return max(1, OFFSETS // width if height == FOURS.height else BLOCK_BYTES // (4 * width))
