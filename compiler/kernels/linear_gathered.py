"""Linear layer of bytes whose nonzeros are alone, or stand in columns of blocks: words of any four columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from sparsec.kernels.split import Split
from sparsec.kernels.token_tile import TokenTiles
from sparsec.kernels.words import LEAST_LANES, words_of

INTERLEAVINGS = 8  # of a word, for four vectors
BESIDE = 2  # words that lie side by side in a vector where tokens are few
NEAR_BYTES = 48 << 10  # rows of bytes that stay in level-1 cache, where each is read for a single row of the weight
_BESIDE_CYCLES = 3.7  # a word of a single row, beside another
_FEW = 1.25  # times as long where gathered words are used for half as many vectors as are gathered at once
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
        plans = [(Blocked.encode(weight, (height, 1)), tiles_of(problem, height, isa)) for height in HEIGHTS]

        def cycles(plan: tuple[Blocked, Tiling]) -> float:
            blocked, tiling = plan
            vectors, tiles = tiling.tokens.split.total, tiling.tokens.tiles
            return block_cycles(blocked.block[0], blocked.blocks, vectors, tiles, isa, beside=tiling.beside)

        blocked, tiling = min(plans, key=cycles)
        tokens, height = tiling.tokens, blocked.block[0]
        groups = RowGroups.of(blocked.counts, problem.outputs, height, least=SERVER if isa.tile_registers else 1)
        packed = GatheredRows.pack(
            blocked, groups, tokens.words, pitch=GROUP * tokens.lanes, beside=tiling.beside, parts=tiling.parts
        )
        return LinearRows(self.name, tokens, groups, (packed,), blocked.values.size * problem.tokens, ByteRows(tokens))


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles of tokens for which so many words lie `beside` each other, and in how many `parts` the columns are visited."""

    tokens: TokenTiles
    beside: int = 1
    parts: int = 1


def tiles_of(problem: LinearProblem, height: int, isa: Isa) -> Tiling:
    """How blocks of so many rows meet x.

    Single rows are bound by the interleaving of words. Where tokens would use half of what is interleaved, vectors have half as
    many tokens, of two words; rows of bytes are half as long then, and a block of columns stays in level-1 cache.
    """
    tokens, half = TokenTiles.of(problem, isa, most=GROUP), isa.lanes() // BESIDE
    few = tokens.split.total == GROUP // BESIDE and tokens.lanes == isa.lanes()
    if height > 1 or not few or half < LEAST_LANES or isa.tile_registers:
        return Tiling(tokens)
    halves = replace(tokens, lanes=half, split=Split.by(-(-problem.tokens // half), GROUP))
    return Tiling(halves, BESIDE, -(-problem.inputs * GROUP * half // NEAR_BYTES))


def block_cycles(height: int, blocks: int, vectors: int, tiles: int, isa: Isa, *, beside: int = 1) -> float:
    """Estimated cycles of blocks of one column, for `vectors` vectors in so many tiles.

    A word takes eight interleavings and four loads per tile, and its products; all run beside each other. Intel's
    servers, which have tile registers, do one interleaving of 512 bit a cycle, on one of two ports for products; others two.
    """
    if beside > 1:
        return blocks / GROUP * _BESIDE_CYCLES * tiles
    shuffles = 1 if isa.tile_registers else 2
    products = height * vectors + (INTERLEAVINGS * tiles if shuffles == 1 else 0)
    few = _FEW if vectors <= GROUP // 2 * tiles and shuffles > 1 else 1.0
    return few * blocks / GROUP * max((INTERLEAVINGS / shuffles + 1.0) * tiles, 0.56 * products)
