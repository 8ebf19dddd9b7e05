"""fp32 linear layer with dense weights: tokens are rows, vectors lie along outputs, weights are panels of outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch_mlir import ir

from sparsec.formats.coo import Coo
from sparsec.formats.dense import pack_panels
from sparsec.kernels.emit import Buffer, Index, define, epilogue_buffers, loop
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.problem import LinearProblem, Problem, dense_products
from sparsec.kernels.store import Output
from sparsec.kernels.tile import Grid, Tile, multiply


@dataclass(frozen=True, slots=True)
class LinearDense:
    """`f32_linear_dense`: a unit is one tile of tokens x outputs; tiles of one weight panel follow each other."""

    name: str = "f32_linear_dense"
    format: str = "dense"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        return None if isinstance(problem, LinearProblem) else "not a linear layer"

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, LinearProblem)
        assert weight is not None
        n, k, m = problem.tokens, problem.inputs, problem.outputs
        if not n or not m:
            return LoweredLayer(())
        dense = weight.to_dense() if isinstance(weight, Coo) else weight
        grid = Grid.plan(isa, n, m, k, rows_apart=k)
        starts = [int(start) * grid.vectors.lanes for start in grid.columns.starts]
        packed = pack_panels(np.asarray(dense, dtype=np.float32).reshape(m, k), starts)
        buffers = {"x": ("f32", n * k), "weight": ("f32", packed.size), "y": ("f32", n * m)}
        buffers |= epilogue_buffers(epilogue, n * m, m)
        name = f"{self.name}_{n}x{k}x{m}_{grid.tag}_{epilogue.tag}_{isa.suffix}"

        def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            output = Output.of(isa, grid, epilogue, memory, m, along_channels=True)
            x, panels = memory["x"], memory["weight"]
            lanes = grid.vectors.lanes

            def sums(tile: Tile) -> list[ir.Value]:
                rows, panel = tile.row * k, tile.column * k
                unmasked = replace(tile, mask=None)  # panels are padded
                return multiply(
                    tile,
                    k,
                    lambda at: tile.splats(x, rows + at, k),
                    lambda at: unmasked.load(panels, panel + at * (tile.width * lanes)),
                )

            with loop(begin, end) as unit:
                output.tile(
                    unit % grid.rows.parts,
                    unit // grid.rows.parts,
                    sums,
                    lambda row, column: (row * m + column, column),
                )

        define(module, name, buffers, body)
        call = Call(name, tuple(buffers), grid.tiles, dense_products(problem))
        return LoweredLayer((call,), {"weight": packed})
