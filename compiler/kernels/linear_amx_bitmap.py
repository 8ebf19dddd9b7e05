"""Linear layer of some tokens on tile registers, with weights that a bitmap packs: loaded as sparse, multiplied as dense.

For so few tokens what limits a dense layer is how fast its weights come from level-3 cache or memory. Here a row of a tile
is a bit per element and the nonzero ones, which instructions expand into a tile on the stack: 16 instructions a tile, for
up to four products.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects import vector

from sparsec.formats.coo import as_dense
from sparsec.kernels import tile_registers
from sparsec.kernels.arithmetic import U8S8, Arithmetic
from sparsec.kernels.emit import Buffer, Vectors, local
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.expand import count_of, expanded, lanes_of
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import LoweredLayer, Weight
from sparsec.kernels.linear_kernel import LinearKernel
from sparsec.kernels.packed import Packed
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.schedule import FAR_BYTES
from sparsec.kernels.tile_blocks import Place, TileBlocks
from sparsec.kernels.tile_registers import INSTRUCTIONS, ROW_BYTES, SIDE, TILE_BYTES
from sparsec.kernels.words import Words, words_of

MOST_TOKENS = 64  # four tiles of sums
AHEAD, LINE = 4 << 10, 64  # bytes: how far ahead weights are asked for, and in a cache line
STAGES = 2  # tiles that are made in turns


@dataclass(frozen=True, slots=True)
class LinearAmxBitmap(LinearKernel):
    """Up to MOST_TOKENS tokens: each tile of weights is made once."""

    kind: ClassVar[str] = "linear_amx_bitmap"
    format: ClassVar[str] = "bitmap"

    arithmetic: Arithmetic = U8S8

    @property
    def instruction(self) -> str:
        """What multiplies: see `OwnInstruction`."""
        return INSTRUCTIONS[self.arithmetic.name]

    def lacks(self, problem: LinearProblem, isa: Isa) -> str | None:
        if not isa.tile_registers or not isa.expands_bytes:
            return "no tile registers"
        return f"more than {MOST_TOKENS} tokens" if problem.tokens > MOST_TOKENS else None

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, LinearProblem)
        assert weight is not None
        words = words_of(self.arithmetic, isa)
        assert words is not None
        if not problem.tokens or not problem.outputs:
            return LoweredLayer(())
        rows = -(-problem.tokens // SIDE)
        blocks = TileBlocks.of(problem, words, most=(rows, 2 if rows <= 2 else 1))
        matrix = np.asarray(as_dense(weight)).reshape(problem.outputs, problem.inputs)
        source = _PackedTiles.pack(matrix, words, blocks.steps)
        products = len(source.values) * problem.tokens
        kernel = f"{self.name}_{len(source.values)}"
        return blocks.lower(module, kernel, source, epilogue, isa, products=products)


@dataclass(frozen=True, slots=True)
class _PackedTiles(Packed):
    """Tiles [outputs / 16][steps][16 words][16 outputs] without their zeros.

    `masks` has a bit for each of the `width` elements of a row of a tile; `values` has the nonzero ones of all, those of 16
    outputs from `starts[j]` on.
    """

    masks: NDArray[np.unsignedinteger]
    values: NDArray[np.integer]
    starts: NDArray[np.int32]
    steps: int

    @classmethod
    def pack(cls, matrix: NDArray[np.generic], words: Words, steps: int) -> _PackedTiles:
        """Pack the weights [outputs, inputs]."""
        tiles = tile_registers.pack_tiles(words.encode(matrix))
        elements = tiles.view(np.int8 if words.element == "i8" else np.int16)
        width = ROW_BYTES // elements.itemsize
        held = elements != 0
        counts = np.count_nonzero(held.reshape(-1, steps * SIDE * width), axis=1)
        return cls(
            np.packbits(held.reshape(-1, width), axis=1, bitorder="little").view(f"uint{width}").reshape(-1),
            np.concatenate([elements[held], np.zeros(width, elements.dtype)]),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            steps,
        )

    @property
    def width(self) -> int:
        """Elements of a row of a tile, and bits of its mask."""
        return ROW_BYTES // self.values.itemsize

    def start(self, memory: Mapping[str, Buffer], place: Place) -> list[ir.Value]:
        """Where the values of each tile of outputs begin."""
        return [memory["starts"].load_index(place.first + j).value for j in range(place.width)]

    def tiles(
        self, memory: Mapping[str, Buffer], place: Place, step: Index, state: list[ir.Value]
    ) -> tuple[list[ir.Value], list[ir.Value]]:
        made = local("i8", STAGES * place.width * TILE_BYTES)
        stage = step % STAGES * (place.width * TILE_BYTES)
        tiles, behind = [], []
        for j, begin in enumerate(state):
            target = stage + j * TILE_BYTES
            row = ((place.first + j) * self.steps + step) * SIDE
            behind.append(self._make(memory, row, Index(dynamic=begin), made, target).value)
            tiles.append(tile_registers.load(tile_registers.address(made) + target))
        return tiles, behind

    def _make(self, memory: Mapping[str, Buffer], first: Index, at: Index, made: Buffer, target: Index) -> Index:
        """Make a tile of 16 rows, from number `first` on, whose values begin at `at`; returns where the next ones do."""
        self._ask_ahead(memory, first, at)
        packed = Vectors(self.width, memory["values"].dtype)
        for row in range(SIDE):
            bits = memory["masks"].load(first + row)
            weights = expanded(packed.load(memory["values"], at), lanes_of(bits, self.width))
            narrow = Vectors(ROW_BYTES, "i8")
            narrow.store(vector.bitcast(narrow.type, weights), made, target + row * ROW_BYTES)
            at = at + count_of(bits)
        return at

    def _ask_ahead(self, memory: Mapping[str, Buffer], first: Index, at: Index) -> None:
        """Prefetch what will be read AHEAD bytes after this tile: hardware follows a stream only to the end of a page."""
        if self.masks.nbytes + self.values.nbytes < FAR_BYTES:
            return
        each = self.values.nbytes * SIDE / len(self.masks)  # bytes of a tile
        for line in range(math.ceil(each / LINE)):
            memory["values"].prefetch(at + (AHEAD + line * LINE) // self.values.itemsize)
        for line in range(SIDE * self.masks.itemsize // LINE):
            memory["masks"].prefetch(first + (AHEAD + line * LINE) // self.masks.itemsize)
