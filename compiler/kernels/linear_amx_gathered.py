"""Linear layer of bytes whose nonzeros stand in columns of 16 outputs, or nearly: tile registers, without empty columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sparsec.formats.blocked import Blocked
from sparsec.kernels.arithmetic import U8S8, Arithmetic
from sparsec.kernels.byte_rows import GROUP, ByteRows
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Weight
from sparsec.kernels.linear_rows import LinearRows, RowsKernel
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.row_groups import SERVER, RowGroups
from sparsec.kernels.tile_registers import SIDE, WEIGHTS_LEFT
from sparsec.kernels.tile_rows import TileRows
from sparsec.kernels.token_tile import TokenTiles


@dataclass(frozen=True, slots=True)
class LinearAmxGathered(RowsKernel):
    """Any number of inputs and outputs, at least 16 tokens; blocks that are not full are filled up with zeros."""

    kind: ClassVar[str] = "linear_amx_gathered"
    format: ClassVar[str] = "blocked"

    arithmetic: Arithmetic = U8S8

    @property
    def instruction(self) -> str:
        """What multiplies: see `OwnInstruction`."""
        return WEIGHTS_LEFT

    def lacks(self, problem: LinearProblem, isa: Isa) -> str | None:
        if not isa.tile_registers:
            return "no tile registers"
        return f"fewer than {SIDE} tokens" if problem.tokens < SIDE else None

    def schedule(self, problem: Problem, weight: Weight, isa: Isa) -> LinearRows:
        """The packed weight, and how it meets x."""
        assert isinstance(problem, LinearProblem)
        tokens = TokenTiles.of(problem, isa, most=GROUP)
        blocked = Blocked.encode(weight, (SIDE, 1))
        groups = RowGroups.of(blocked.counts, problem.outputs, SIDE, least=SERVER)
        packed = TileRows.pack(blocked, groups, tokens.words, pitch=GROUP * SIDE)
        return LinearRows(self.name, tokens, groups, (packed,), blocked.values.size * problem.tokens, ByteRows(tokens))
