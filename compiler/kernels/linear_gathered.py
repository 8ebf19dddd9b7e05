"""Linear layer of bytes whose nonzeros are alone, or stand in columns of blocks: words of any four columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sparsec.formats.blocked import Blocked
from sparsec.kernels.arithmetic import U8S8, Arithmetic
from sparsec.kernels.byte_rows import GROUP, ByteRows
from sparsec.kernels.gathered_rows import GatheredRows
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Weight
from sparsec.kernels.linear_rows import LinearRows, RowsKernel
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.row_groups import SERVER, RowGroups
from sparsec.kernels.token_tile import TokenTiles
from sparsec.kernels.words import LEAST_LANES, words_of

INTERLEAVINGS = 8  # of a word, for four vectors
HEIGHTS = (1, 4)  # of blocks: single rows, or as many as registers have room for with the sums of four vectors


@dataclass(frozen=True, slots=True)
class LinearGathered(RowsKernel):
    """Any number of inputs and outputs, at least four tokens, on instruction sets that multiply words of four bytes."""

    kind: ClassVar[str] = "linear_gathered"
    format: ClassVar[str] = "blocked"

    arithmetic: Arithmetic = U8S8

    def lacks(self, problem: LinearProblem, isa: Isa) -> str | None:
        words = words_of(U8S8, isa)
        if words is None or words.group != GROUP:
            return f"{isa.suffix} has no instruction for words of four bytes"
        return f"fewer than {LEAST_LANES} tokens" if problem.tokens < LEAST_LANES else None

    def schedule(self, problem: Problem, weight: Weight, isa: Isa) -> LinearRows:
        """The packed weight, and how it meets x."""
        assert isinstance(problem, LinearProblem)
        tokens = TokenTiles.of(problem, isa, most=GROUP)
        found = (Blocked.encode(weight, (height, 1)) for height in HEIGHTS)
        vectors = tokens.split.total
        blocked = min(found, key=lambda each: block_cycles(each.block[0], each.blocks, vectors, tokens.tiles, isa))
        height = blocked.block[0]
        groups = RowGroups.of(blocked.counts, problem.outputs, height, least=SERVER if isa.tile_registers else 1)
        packed = GatheredRows.pack(blocked, groups, tokens.words, pitch=GROUP * tokens.lanes)
        return LinearRows(self.name, tokens, groups, (packed,), blocked.values.size * problem.tokens, ByteRows(tokens))


def block_cycles(height: int, blocks: int, vectors: int, tiles: int, isa: Isa) -> float:
    """Estimated cycles of blocks of one column, for `vectors` vectors in so many tiles.

    A word takes eight interleavings and four loads per tile, and its products; all run beside each other. Intel's
    servers, which have tile registers, do one interleaving of 512 bit a cycle, on one of two ports for products; others two.
    """
    shuffles = 1 if isa.tile_registers else 2
    products = height * vectors + (INTERLEAVINGS * tiles if shuffles == 1 else 0)
    return blocks / GROUP * max((INTERLEAVINGS / shuffles + 1.0) * tiles, 0.56 * products)
