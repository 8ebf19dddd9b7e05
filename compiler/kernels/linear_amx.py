"""Linear layer with dense weights on the tile registers of AMX: 16 tokens by 16 outputs of 32-bit sums in a register."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch_mlir import ir

from sparsec.formats.coo import as_dense
from sparsec.kernels import tile_registers
from sparsec.kernels.arithmetic import U8S8, Arithmetic
from sparsec.kernels.emit import (
    Buffer,
    Index,
    Split,
    Vectors,
    carry,
    define,
    epilogue_buffers,
    finish,
    local,
    loop,
    minimum,
)
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.pack_words import PACKED, emit_pack_rows
from sparsec.kernels.problem import LinearProblem, Problem, dense_products
from sparsec.kernels.tile_registers import INSTRUCTIONS, ROW_BYTES, SIDE, TILE
from sparsec.kernels.words import Words, refusal, words_of


@dataclass(frozen=True, slots=True)
class LinearAmx:
    """A unit is a block of tiles of sums; blocks of the same outputs follow each other."""

    arithmetic: Arithmetic = U8S8
    format: str = "dense"

    @property
    def name(self) -> str:
        return f"{self.arithmetic.name}_linear_amx"

    @property
    def instruction(self) -> str:
        """What multiplies, for the report."""
        return INSTRUCTIONS[self.arithmetic.name]

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if not isinstance(problem, LinearProblem):
            return "not a linear layer"
        if not isa.tile_registers:
            return "no tile registers"
        return refusal(problem.arithmetic, self.arithmetic, isa)

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, LinearProblem)
        assert weight is not None
        words = words_of(self.arithmetic, isa)
        assert words is not None
        n, k, m = problem.tokens, problem.inputs, problem.outputs
        if not n or not m:
            return LoweredLayer(())
        dense = as_dense(weight)
        packed = tile_registers.pack_tiles(words.encode(np.asarray(dense).reshape(m, k)))
        blocks = _Blocks.of(problem, words)
        call = self._multiply(module, blocks, epilogue, isa)
        if blocks.direct:
            return LoweredLayer((call,), {"weight": packed})
        pack = emit_pack_rows(module, n, k, words, isa, filled=(blocks.rows, blocks.pitch))
        return LoweredLayer((pack, call), {"weight": packed}, {PACKED: (words.dtype, blocks.pitch * blocks.rows)})

    def _multiply(self, module: ir.Module, blocks: _Blocks, epilogue: Epilogue, isa: Isa) -> Call:
        problem, words = blocks.problem, blocks.words
        n, k, m = problem.tokens, problem.inputs, problem.outputs
        source, kind, elements = PACKED, words.dtype, blocks.pitch * blocks.rows
        if blocks.direct:
            source, kind, elements = "x", self.arithmetic.stored, n * k
        buffers = {source: (kind, elements), "weight": (words.dtype, blocks.columns * blocks.steps * TILE)}
        buffers |= {"y": (epilogue.result, n * m), **epilogue_buffers(epilogue, n * m, m)}
        name = f"{self.name}_{n}x{k}x{m}_{epilogue.tag}_{isa.suffix}"

        def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            spill = local(self.arithmetic.total, blocks.down.most * blocks.across.most * TILE)
            with loop(begin, end) as unit:
                down, across = unit % blocks.down.parts, unit // blocks.down.parts
                blocks.down.each_length(
                    down,
                    lambda height: blocks.across.each_length(
                        across, lambda width: blocks.emit(memory, source, spill, (down, height), (across, width))
                    ),
                )
                blocks.store(memory, spill, down, across, epilogue)

        define(module, name, buffers, body)
        return Call(name, tuple(buffers), blocks.down.parts * blocks.across.parts, dense_products(problem))


@dataclass(frozen=True, slots=True)
class _Blocks:
    """How sums are cut into blocks of tiles: `down` deals tiles of tokens, `across` tiles of outputs."""

    problem: LinearProblem
    words: Words
    down: Split
    across: Split

    @classmethod
    def of(cls, problem: LinearProblem, words: Words) -> _Blocks:
        """Blocks of 2 x 2 tiles, or 1 x 3 for few tokens: with the operands eight registers at most."""
        rows, columns = -(-problem.tokens // SIDE), -(-problem.outputs // SIDE)
        return cls(problem, words, Split.by(rows, 2), Split.by(columns, 2 if rows > 1 else 3))

    @property
    def rows(self) -> int:
        """Tokens, filled up to whole tiles."""
        return self.down.total * SIDE

    @property
    def columns(self) -> int:
        """Tiles of outputs."""
        return self.across.total

    @property
    def steps(self) -> int:
        """Tiles along the words."""
        return -(-self.words.count(self.problem.inputs) // SIDE)

    @property
    def pitch(self) -> int:
        """Words from one token to the next, where x is packed."""
        return self.steps * SIDE

    @property
    def direct(self) -> bool:
        """Whether tiles can be loaded from x as it is."""
        n, k = self.problem.tokens, self.problem.inputs
        return self.words.direct(k) and n % SIDE == 0 and k // self.words.group % SIDE == 0

    def emit(
        self,
        memory: Mapping[str, Buffer],
        source: str,
        spill: Buffer,
        rows: tuple[Index, int],
        columns: tuple[Index, int],
    ) -> None:
        """Leave the sums of a block of `height` x `width` tiles in `spill`, [tokens][most outputs]."""
        (down, height), (across, width) = rows, columns
        row_bytes = self.pitch * 4
        x = tile_registers.address(memory[source]) + self.down.start(down) * (SIDE * row_bytes)
        w = tile_registers.address(memory["weight"]) + self.across.start(across) * (self.steps * TILE * 4)

        instruction = INSTRUCTIONS[self.words.arithmetic.name]

        def step(at: Index, sums: list[ir.Value]) -> list[ir.Value]:
            left = [tile_registers.load(x + at * ROW_BYTES + i * (SIDE * row_bytes), row_bytes) for i in range(height)]
            right = [tile_registers.load(w + (at + j * self.steps) * (TILE * 4), ROW_BYTES) for j in range(width)]
            return [
                tile_registers.multiply_add(instruction, left[number // width], right[number % width], total)
                for number, total in enumerate(sums)
            ]

        start = [tile_registers.zero() for _ in range(height * width)]
        sums = carry(0, self.steps, 1, start, step)
        pitch = self.across.most * ROW_BYTES
        target = tile_registers.address(spill)
        for number, total in enumerate(sums):
            corner = target + (number // width * SIDE * pitch + number % width * ROW_BYTES)
            tile_registers.store(total, corner, pitch)

    def store(
        self, memory: Mapping[str, Buffer], spill: Buffer, down: Index, across: Index, epilogue: Epilogue
    ) -> None:
        """Epilogue and store of the sums of a block."""
        n, m = self.problem.tokens, self.problem.outputs
        vectors, results = Vectors(SIDE, spill.dtype), Vectors(SIDE, epilogue.result)
        first = self.down.start(down) * SIDE
        with (
            loop(0, minimum(self.down.length(down) * SIDE, n - first)) as row,
            loop(0, self.across.length(across)) as number,
        ):
            column = (self.across.start(across) + number) * SIDE
            mask = vectors.mask(minimum(SIDE, m - column)) if m % SIDE else None
            total = vectors.load(spill, (row * self.across.most + number) * SIDE)
            at = (first + row) * m + column
            value = finish(vectors, epilogue, memory, total, element=at, channel=column, mask=mask, along_channels=True)
            results.store(value, memory["y"], at, mask)
