"""Linear layer with dense weights on the tile registers of AMX: 16 tokens by 16 outputs of 32-bit sums in a register."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.coo import as_dense
from sparsec.kernels import tile_registers
from sparsec.kernels.arithmetic import U8S8, Arithmetic
from sparsec.kernels.emit import Buffer
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import LoweredLayer, Weight
from sparsec.kernels.linear_kernel import LinearKernel
from sparsec.kernels.problem import LinearProblem, Problem, dense_products
from sparsec.kernels.schedule import FAR_BYTES
from sparsec.kernels.tile_blocks import Place, TileBlocks
from sparsec.kernels.tile_registers import INSTRUCTIONS, SIDE, TILE, TILE_BYTES
from sparsec.kernels.words import words_of

LINE = 16  # words in a line of a cache


@dataclass(frozen=True, slots=True)
class LinearAmx(LinearKernel):
    """Blocks of 2 x 2 tiles of sums: each operand that is loaded feeds two products. Of few tokens, 1 x 3."""

    kind: ClassVar[str] = "linear_amx"
    format: ClassVar[str] = "dense"

    arithmetic: Arithmetic = U8S8

    @property
    def instruction(self) -> str:
        """What multiplies: see `OwnInstruction`."""
        return INSTRUCTIONS[self.arithmetic.name]

    def lacks(self, problem: LinearProblem, isa: Isa) -> str | None:
        return None if isa.tile_registers else "no tile registers"

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, LinearProblem)
        assert weight is not None
        words = words_of(self.arithmetic, isa)
        assert words is not None
        if not problem.tokens or not problem.outputs:
            return LoweredLayer(())
        blocks = TileBlocks.of(problem, words, most=(2, 2) if problem.tokens > SIDE else (1, 3))
        matrix = np.asarray(as_dense(weight)).reshape(problem.outputs, problem.inputs)
        source = _Panels(tile_registers.pack_tiles(words.encode(matrix)), blocks.steps, blocks.together)
        return blocks.lower(module, self.name, source, epilogue, isa, products=dense_products(problem))


@dataclass(frozen=True, slots=True)
class _Panels:
    """Tiles [outputs / 16][steps][16 words][16 outputs], each of which is read `times` times in a row."""

    packed: NDArray[np.generic]
    steps: int
    times: int

    @property
    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        return {"weight": self.packed}

    @property
    def spec(self) -> Mapping[str, tuple[str, int]]:
        return {"weight": ("f32" if self.packed.dtype.kind == "f" else "i32", len(self.packed))}

    def start(self, memory: Mapping[str, Buffer], place: Place) -> list[ir.Value]:
        return []

    def tiles(
        self, memory: Mapping[str, Buffer], place: Place, step: Index, state: list[ir.Value]
    ) -> tuple[list[ir.Value], list[ir.Value]]:
        panel = tile_registers.address(memory["weight"]) + place.first * (self.steps * TILE_BYTES)
        self._ask_ahead(memory["weight"], place, step)
        return [tile_registers.load(panel + (step + j * self.steps) * TILE_BYTES) for j in range(place.width)], state

    def _ask_ahead(self, weight: Buffer, place: Place, step: Index) -> None:
        """Ask level-2 cache for a share of the next panels, if the weight comes from further away."""
        lines = place.width * TILE // LINE
        if self.packed.nbytes < FAR_BYTES or self.times > lines:
            return
        share = -(-lines // self.times)
        begin = (place.first + place.width) * (self.steps * TILE)
        for line in range(share):
            weight.prefetch(begin + ((place.turn * self.steps + step) * share + line) * LINE, level=2)
