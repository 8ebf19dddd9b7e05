"""Linear layer with dense weights: tokens are rows, vectors lie along outputs, weights are panels of outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from torch_mlir import ir

from sparsec.formats.coo import as_dense
from sparsec.formats.dense import pack_panels
from sparsec.kernels.emit import Buffer, define, epilogue_buffers, loop
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.linear_kernel import LinearKernel
from sparsec.kernels.pack_words import PACKED, emit_pack_rows
from sparsec.kernels.problem import LinearProblem, Problem, dense_products
from sparsec.kernels.store import Output
from sparsec.kernels.tile import Grid, Tile, multiply
from sparsec.kernels.words import Words, words_of


@dataclass(frozen=True, slots=True)
class LinearDense(LinearKernel):
    """A unit is one tile of tokens x outputs; tiles of one weight panel follow each other."""

    kind: ClassVar[str] = "linear_dense"
    format: ClassVar[str] = "dense"

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
        grid = Grid.plan(isa, n, m, words.count(k), rows_apart=words.count(k), total=self.arithmetic.total)
        starts = [int(start) * grid.vectors.lanes for start in grid.columns.starts]
        packed = pack_panels(words.encode(np.asarray(dense).reshape(m, k)), starts)
        call = self._multiply(module, problem, words, grid, epilogue, isa, packed.size)
        if words.direct(k):
            return LoweredLayer((call,), {"weight": packed})
        pack = emit_pack_rows(module, n, k, words, isa)
        return LoweredLayer((pack, call), {"weight": packed}, {PACKED: (words.dtype, n * words.count(k))})

    def _multiply(
        self,
        module: ir.Module,
        problem: LinearProblem,
        words: Words,
        grid: Grid,
        epilogue: Epilogue,
        isa: Isa,
        packed: int,
    ) -> Call:
        """Add the kernel; `packed` is the number of words of the weight."""
        n, k, m, depth = problem.tokens, problem.inputs, problem.outputs, words.count(problem.inputs)
        source = "x" if words.direct(k) else PACKED
        elements, apart = (n * k, words.group) if words.direct(k) else (n * depth, 1)  # elements of a word
        kind = self.arithmetic.stored if words.direct(k) else words.dtype
        buffers = {source: (kind, elements), "weight": (words.dtype, packed), "y": (epilogue.result, n * m)}
        buffers |= epilogue_buffers(epilogue, n * m, m)
        name = f"{self.name}_{n}x{k}x{m}_{grid.tag}_{epilogue.tag}_{isa.suffix}"

        def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            output = Output.of(module, name, isa, grid, epilogue, memory, m, along_channels=True)
            x, panels = memory[source], memory["weight"]
            lanes = grid.vectors.lanes

            def sums(tile: Tile) -> list[ir.Value]:
                rows, panel = tile.row * (depth * apart), tile.column * depth
                unmasked = replace(tile, mask=None)  # panels are padded
                return multiply(
                    tile,
                    depth,
                    lambda at: (words.splat(x, rows + (at + r * depth) * apart, lanes) for r in range(tile.rows)),
                    lambda at: unmasked.load(panels, panel + at * (tile.width * lanes)),
                    words.multiply_add,
                    words.short,
                )

            with loop(begin, end) as unit:
                output.tile(
                    unit % grid.rows.parts,
                    unit // grid.rows.parts,
                    sums,
                    lambda row, column: (row * m + column, column),
                )

        define(module, name, buffers, body)
        return Call(name, tuple(buffers), grid.tiles, dense_products(problem))
