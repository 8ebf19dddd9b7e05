"""Linear layers on tile registers whose weights are, or become, tiles of all words: blocks of tiles of sums.

Tokens are rows of sums and outputs their columns, so y is stored as the sums lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.kernels import tile_registers
from sparsec.kernels.emit import Buffer, Vectors, carry, define, epilogue_buffers, finish, local, loop
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer
from sparsec.kernels.pack_words import PACKED, emit_pack_rows
from sparsec.kernels.problem import LinearProblem
from sparsec.kernels.split import Split
from sparsec.kernels.tile_registers import INSTRUCTIONS, ROW_BYTES, SIDE, TILE
from sparsec.kernels.words import Words

NEAR_BYTES = 1 << 20  # of tokens' words, beside the weights that go by: half of level-2 cache


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block is while it is built: part `down` of the tokens, `width` tiles of outputs from tile `first` on, of which it
    is use number `turn` in a row."""

    down: Index
    turn: Index
    first: Index
    width: int


class TileSource(Protocol):
    """Packed weights, and how tiles [16 words][16 outputs] come of them."""

    @property
    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """The packed weight, by buffer name."""

    @property
    def spec(self) -> Mapping[str, tuple[str, int]]:
        """The kernel's arguments for `arrays`: element types and sizes."""

    def start(self, memory: Mapping[str, Buffer], place: Place) -> list[ir.Value]:
        """What `tiles` needs to be handed from one step to the next, before the first."""

    def tiles(
        self, memory: Mapping[str, Buffer], place: Place, step: Index, state: list[ir.Value]
    ) -> tuple[list[ir.Value], list[ir.Value]]:
        """The tiles of a step, one for each tile of outputs, and the state after it."""


@dataclass(frozen=True, slots=True)
class TileBlocks:
    """How sums are cut into blocks of tiles: `down` deals tiles of tokens, `across` tiles of outputs.

    A unit is a block; blocks of the same outputs follow each other, `together` of them, whose tokens stay in level-2 cache
    while all outputs go by. With the operands, a block has eight tiles at most.
    """

    problem: LinearProblem
    words: Words
    down: Split
    across: Split

    @classmethod
    def of(cls, problem: LinearProblem, words: Words, *, most: tuple[int, int]) -> TileBlocks:
        """Blocks of at most so many tiles of tokens and of outputs."""
        rows, columns = -(-problem.tokens // SIDE), -(-problem.outputs // SIDE)
        return cls(problem, words, Split.by(rows, most[0]), Split.by(columns, most[1]))

    @property
    def rows(self) -> int:
        """Tokens, filled up to whole tiles."""
        return self.down.total * SIDE

    @property
    def steps(self) -> int:
        """Tiles along the words."""
        return -(-self.words.count(self.problem.inputs) // SIDE)

    @property
    def pitch(self) -> int:
        """Words from one token to the next, where x is packed."""
        return self.steps * SIDE

    @property
    def together(self) -> int:
        """How many blocks of tokens use the same outputs in a row."""
        groups = -(-self.down.parts // max(1, NEAR_BYTES // (self.down.most * SIDE * self.pitch * 4)))
        return -(-self.down.parts // groups)

    def place(self, unit: Index) -> tuple[Index, Index, Index]:
        """Part of the tokens, which use in a row of the outputs that is, and part of the outputs."""
        if self.together == self.down.parts:
            turn = unit % self.together
            return turn, turn, unit // self.together
        first = unit // (self.together * self.across.parts) * self.together
        left, turns = unit - first * self.across.parts, minimum(self.together, self.down.parts - first)
        return first + left % turns, left % turns, left // turns

    @property
    def direct(self) -> bool:
        """Whether tiles can be loaded from x as it is."""
        n, k = self.problem.tokens, self.problem.inputs
        return self.words.direct(k) and n % SIDE == 0 and k // self.words.group % SIDE == 0

    def lower(
        self, module: ir.Module, kernel: str, source: TileSource, epilogue: Epilogue, isa: Isa, *, products: int
    ) -> LoweredLayer:
        """Add the function `kernel`, and the one that packs x, if it needs that."""
        n, k, m = self.problem.tokens, self.problem.inputs, self.problem.outputs
        stored, kind, elements = PACKED, self.words.dtype, self.pitch * self.rows
        if self.direct:
            stored, kind, elements = "x", self.words.arithmetic.stored, n * k
        spec = {stored: (kind, elements), **source.spec, "y": (epilogue.result, n * m)}
        spec |= epilogue_buffers(epilogue, n * m, m)
        name = f"{kernel}_{n}x{k}x{m}_{epilogue.tag}_{isa.suffix}"

        def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            spill = local(self.words.arithmetic.total, self.down.most * self.across.most * TILE)
            with loop(begin, end) as unit:
                down, turn, across = self.place(unit)

                def block(height: int, width: int) -> None:
                    place = Place(down, turn, self.across.start(across), width)
                    self._multiply(memory, memory[stored], source, spill, height, place)

                self.down.each_length(
                    down, lambda height: self.across.each_length(across, lambda width: block(height, width))
                )
                self._store(memory, spill, down, across, epilogue)

        define(module, name, spec, body)
        call = Call(name, tuple(spec), self.down.parts * self.across.parts, products)
        if self.direct:
            return LoweredLayer((call,), source.arrays)
        pack = emit_pack_rows(module, n, k, self.words, isa, filled=(self.rows, self.pitch))
        return LoweredLayer((pack, call), source.arrays, {PACKED: (kind, elements)})

    def _multiply(
        self, memory: Mapping[str, Buffer], x: Buffer, source: TileSource, spill: Buffer, height: int, place: Place
    ) -> None:
        """Leave the sums of a block, `height` tiles of tokens, in `spill`, [tokens][most outputs]."""
        row_bytes, width = self.pitch * 4, place.width
        rows = tile_registers.address(x) + self.down.start(place.down) * (SIDE * row_bytes)
        instruction, count = INSTRUCTIONS[self.words.arithmetic.name], height * width

        def step(at: Index, carried: list[ir.Value]) -> list[ir.Value]:
            right, state = source.tiles(memory, place, at, carried[count:])
            sums = []
            for i in range(height):  # one at a time: there are eight registers
                left = tile_registers.load(rows + at * ROW_BYTES + i * (SIDE * row_bytes), row_bytes)
                sums += [
                    tile_registers.multiply_add(instruction, left, tile, carried[i * width + j])
                    for j, tile in enumerate(right)
                ]
            return [*sums, *state]

        start = [*(tile_registers.zero() for _ in range(count)), *source.start(memory, place)]
        sums = carry(0, self.steps, 1, start, step)[:count]
        pitch = self.across.most * ROW_BYTES
        target = tile_registers.address(spill)
        for number, total in enumerate(sums):
            tile_registers.store(total, target + (number // width * SIDE * pitch + number % width * ROW_BYTES), pitch)

    def _store(
        self, memory: Mapping[str, Buffer], spill: Buffer, down: Index, across: Index, epilogue: Epilogue
    ) -> None:
        """Epilogue and store of the sums of a block, tile by tile: what only the channel decides is computed once for all tokens."""
        n, m = self.problem.tokens, self.problem.outputs
        vectors, results = Vectors(SIDE, spill.dtype), Vectors(SIDE, epilogue.result)
        first = self.down.start(down) * SIDE
        with loop(0, self.across.length(across)) as number:
            column = (self.across.start(across) + number) * SIDE
            mask = vectors.mask(minimum(SIDE, m - column)) if m % SIDE else None
            with loop(0, minimum(self.down.length(down) * SIDE, n - first)) as row:
                total = vectors.load(spill, (row * self.across.most + number) * SIDE)
                at = (first + row) * m + column
                value = finish(
                    vectors, epilogue, memory, total, element=at, channel=column, mask=mask, along_channels=True
                )
                results.store(value, memory["y"], at, mask)
