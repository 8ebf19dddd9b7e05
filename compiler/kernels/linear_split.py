"""Linear layer with a weight in two parts: pairs of rows, which share the loads of x, and single nonzeros."""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.formats.csr import Csr
from sparsec.formats.split import Split
from sparsec.kernels.arithmetic import F32
from sparsec.kernels.counted_rows import CountedRows, step_of
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Weight
from sparsec.kernels.linear_csr import BLOCK_BYTES
from sparsec.kernels.linear_rows import LinearRows, RowsKernel
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.row_groups import RowGroups
from sparsec.kernels.spmm import most_vectors
from sparsec.kernels.token_tile import TokenTiles
from sparsec.kernels.words import refusal


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
        tokens = TokenTiles.of(problem, isa, most=most_vectors(2, isa))
        columns = max(1, BLOCK_BYTES // (4 * tokens.width))
        csr = Csr.encode(weight)
        groups = RowGroups.of(csr.counts, problem.outputs)
        split = Split.encode(csr, groups=groups.starts, span=columns)
        walkers = tuple(
            CountedRows.pack(
                part, groups.starts, columns=columns, width=tokens.width, step=step_of(isa), early=isa.short_queue
            )
            for part in (split.pairs, split.rest)
        )
        return LinearRows(self.name, tokens, groups, walkers, split.nnz * problem.tokens)
