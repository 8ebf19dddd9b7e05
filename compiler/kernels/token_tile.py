"""How tokens are cut into tiles of vectors, and where other kernels have x: see `token_copy` and `token_store`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch_mlir import ir

from sparsec.kernels.emit import Buffer, Vectors
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.pack_words import PACKED
from sparsec.kernels.problem import LinearProblem
from sparsec.kernels.split import Split
from sparsec.kernels.words import FP32, Words, words_of


class Layout(Protocol):
    """How x lies where a linear layer reads it. The layer before it may leave its result so."""

    @property
    def name(self) -> str:
        """The buffer."""

    @property
    def dtype(self) -> str:
        """The type of its elements."""

    @property
    def elements(self) -> int:
        """How many it has."""

    @property
    def abreast(self) -> int:
        """Columns of x that are put at a time; the first is a multiple of it."""

    def functions(self, isa: Isa) -> tuple[str, ...]:
        """The functions that fill it, the first from x and each from what the one before it made; equal layouts have equal ones."""

    def follows(self, before: TokenTiles) -> bool:
        """Whether what is computed in the tiles `before` can be put here."""

    def refuses(self, epilogue: Epilogue) -> str | None:
        """Why results of the epilogue cannot be put here; None if they can."""

    def put(self, values: Sequence[Sequence[ir.Value]], target: Buffer, tile: Index, column: Index) -> None:
        """Store the vectors of each of `abreast` columns of x of a tile, from `column` on."""


@dataclass(frozen=True, slots=True)
class TokenTiles:
    """x as [tiles][inputs][most vectors][lanes] words, where `split` deals vectors of tokens to tiles.

    Vector number j of all begins at token min(j * lanes, tokens - lanes).
    """

    problem: LinearProblem
    lanes: int
    split: Split
    words: Words = FP32

    @classmethod
    def of(cls, problem: LinearProblem, isa: Isa, *, most: int) -> TokenTiles:
        """Tiles of at most so many vectors."""
        lanes, words = isa.lanes_for(problem.tokens), words_of(problem.arithmetic, isa)
        assert words is not None
        return cls(problem, lanes, Split.by(-(-problem.tokens // lanes), most), words)

    @property
    def inputs(self) -> int:
        """Words of a token."""
        return self.words.count(self.problem.inputs)

    @property
    def tiles(self) -> int:
        return self.split.parts

    @property
    def vectors(self) -> int:
        """Vectors of the widest tile."""
        return self.split.most

    @property
    def width(self) -> int:
        """Elements between neighbouring inputs of a tile."""
        return self.lanes * self.vectors

    @property
    def copied(self) -> bool:
        """False for a single token of fp32, whose x is its own transpose."""
        return self.problem.tokens > 1 or not self.words.plain

    @property
    def name(self) -> str:
        return self.source

    @property
    def dtype(self) -> str:
        return self.words.dtype

    @property
    def abreast(self) -> int:
        return 1

    @property
    def source(self) -> str:
        """The name of the buffer that kernels read."""
        if self.problem.tokens == 1:
            return PACKED if self.copied else "x"
        return "tiles"

    @property
    def elements(self) -> int:
        """Size of the buffer `source`."""
        return self.tiles * self.inputs * self.width

    def functions(self, isa: Isa) -> tuple[str, ...]:
        """The function that copies x to tiles."""
        shape = f"{self.problem.tokens}x{self.problem.inputs}_{self.tiles}x{self.vectors}x{self.lanes}"
        return (f"{self.words.arithmetic.name}_tile_tokens_{shape}_{self.words.element}_{isa.suffix}",)

    def follows(self, before: TokenTiles) -> bool:
        """Whether the sums of the tiles `before`, which are of as many outputs, lie as these tiles do."""
        return self.words.plain and self.of_the_same(before)

    def of_the_same(self, before: TokenTiles) -> bool:
        """Whether the tiles `before` have these tokens, and lead to as many outputs as there are inputs here."""
        alike = self.lanes == before.lanes and self.split == before.split
        return (
            alike and self.problem.tokens == before.problem.tokens > 1 and self.problem.inputs == before.problem.outputs
        )

    def refuses(self, epilogue: Epilogue) -> str | None:
        """Why no layer may leave these tiles; None if one may."""
        return None if epilogue.result == self.dtype else "y is not fp32"

    def put(self, values: Sequence[Sequence[ir.Value]], target: Buffer, tile: Index, column: Index) -> None:
        """Store the vectors of a column of a tile."""
        along, first = Vectors(self.lanes, self.dtype), (tile * self.inputs + column) * self.width
        for number, value in enumerate(values[0]):
            along.store(value, target, first + number * self.lanes)

    def first(self, tile: Index, vector: int | Index) -> Index:
        """The first token of a vector of a tile."""
        return minimum((self.split.start(tile) + vector) * self.lanes, self.problem.tokens - self.lanes)
