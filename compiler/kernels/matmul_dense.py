"""fp32 product of two activations: rows of p are broadcast, vectors lie along the columns of q."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.kernels.arithmetic import F32
from sparsec.kernels.emit import Buffer, Vectors, choose, define, epilogue_buffers, loop
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.problem import Lines, MatmulProblem, Problem, dense_products
from sparsec.kernels.store import Output, transposed
from sparsec.kernels.tile import Grid, Tile, multiply
from sparsec.kernels.words import refusal

TURNED = "q.transposed"


@dataclass(frozen=True, slots=True)
class MatmulDense:
    """`f32_matmul_dense`: a unit is one tile of one product; a transposed q is turned round in scratch first."""

    name: str = "f32_matmul_dense"
    format: str = "dense"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if not isinstance(problem, MatmulProblem):
            return "not a product of two activations"
        return refusal(problem.arithmetic, F32, isa)

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, MatmulProblem)
        assert weight is None
        if not problem.batch or not problem.rows or not problem.columns:
            return LoweredLayer(())
        if not problem.transposed or not problem.inner:
            return LoweredLayer((_multiply(module, _merged(problem), "q", epilogue, isa),))
        planes = 1 if problem.shared_right else problem.batch
        turn = transpose(module, planes, problem.columns, problem.inner, problem.right_lines, isa, ("q", TURNED))
        upright = _merged(replace(problem, transposed=False, right=None))
        call = _multiply(module, upright, TURNED, epilogue, isa)
        return LoweredLayer((turn, call), scratch={TURNED: ("f32", planes * problem.inner * problem.columns)})


def _merged(problem: MatmulProblem) -> MatmulProblem:
    """The same product with the batch joined to the rows where one q serves all, and rows lie behind each other."""
    if problem.shared_right and not problem.shared_left and problem.left is None:
        return replace(problem, batch=1, rows=problem.batch * problem.rows, shared_right=False)
    return problem


def _multiply(module: ir.Module, problem: MatmulProblem, source: str, epilogue: Epilogue, isa: Isa) -> Call:
    """Add y = p q for q stored [b, k, j] in the buffer `source`."""
    b, n, k, m = problem.batch, problem.rows, problem.inner, problem.columns
    lefts, rights = (1 if shared else b for shared in (problem.shared_left, problem.shared_right))
    left, right = problem.left_lines, problem.right_lines
    grid = Grid.plan(isa, n, m, k, rows_apart=left.line)
    buffers = {"p": ("f32", lefts * n * k), source: ("f32", rights * k * m), "y": (epilogue.result, b * n * m)}
    buffers |= epilogue_buffers(epilogue, b * n * m, m)
    shared = "l" * problem.shared_left + "r" * problem.shared_right
    apart = "".join(f"_{each.line}-{each.matrix}" for each in (problem.left, problem.right) if each is not None)
    name = f"f32_matmul_dense_{b}{shared}x{n}x{k}x{m}{apart}_{grid.tag}_{epilogue.tag}_{isa.suffix}"

    def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        output = Output.of(module, name, isa, grid, epilogue, memory, m, along_channels=True)
        p, q = memory["p"], memory[source]
        with loop(begin, end) as unit:
            image, part = unit // grid.tiles, unit % grid.tiles

            def sums(tile: Tile) -> list[ir.Value]:
                rows, column = tile.row * left.line + image * left.matrix, tile.column + image * right.matrix
                return multiply(
                    tile,
                    k,
                    lambda at: tile.splats(p, rows + at, left.line),
                    lambda at: tile.load(q, column + at * right.line),
                )

            output.tile(
                part // grid.columns.parts,
                part % grid.columns.parts,
                sums,
                lambda row, column: (image * (n * m) + row * m + column, column),
            )

    define(module, name, buffers, body)
    return Call(name, tuple(buffers), b * grid.tiles, dense_products(problem))


def transpose(
    module: ir.Module,
    planes: int,
    rows: int,
    columns: int,
    stored: Lines,
    isa: Isa,
    names: tuple[str, str],
    *,
    scale: float = 1.0,
) -> Call:
    """Add the transposition of `planes` matrices [rows, columns], times a number; a unit is a band of rows.

    `names` are those of the buffers read and written. Rows lie where `stored` says.
    """
    vectors = Vectors(isa.lanes())
    lanes = vectors.lanes
    bands = -(-rows // lanes)
    size = planes * rows * columns
    source_name, target_name = names
    buffers = dict.fromkeys(names, ("f32", size))
    apart = "" if stored.line == columns else f"_{stored.line}-{stored.matrix}"
    scaled = "" if scale == 1.0 else f"_{np.float32(scale).view(np.uint32):x}"
    name = f"f32_transpose_{planes}x{rows}x{columns}{apart}{scaled}_{isa.suffix}"

    def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        given, turned = memory[source_name], memory[target_name]
        with loop(begin, end) as unit:
            number, row = unit // bands, unit % bands * lanes
            source, plane = number * stored.matrix, number * (rows * columns)
            height = minimum(lanes, rows - row)

            def block(column: Index, width: int, whole: bool) -> None:
                """Turn one block of `lanes` rows (fewer unless `whole`) and `width` columns."""
                inside = vectors.mask(width)
                lines = [
                    vectors.load(given, source + minimum(row + r, rows - 1) * stored.line + column, inside)
                    for r in range(lanes)
                ]
                outside = None if whole else vectors.mask(height)
                if scale != 1.0:
                    lines = [arith.mulf(line, vectors.splat(scale)) for line in lines]
                for c, line in enumerate(transposed(lines)[:width]):
                    vectors.store(line, turned, plane + (column + c) * rows + row, outside)

            def band(whole: bool) -> None:
                even = columns // lanes * lanes
                if even:
                    with loop(0, even, lanes) as column:
                        block(column, lanes, whole)
                if columns % lanes:
                    block(Index(even), columns % lanes, whole)

            if rows % lanes == 0:
                band(True)
            else:
                choose(height.equals(lanes), lambda: band(True), lambda: band(False))

    define(module, name, buffers, body)
    return Call(name, tuple(buffers), planes * bands, size)
