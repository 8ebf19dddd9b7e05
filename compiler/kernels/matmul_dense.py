"""fp32 product of two activations: rows of p are broadcast, vectors lie along the columns of q."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch_mlir import ir

from sparsec.kernels.arithmetic import F32
from sparsec.kernels.emit import Buffer, Vectors, define, epilogue_buffers, loop
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.problem import MatmulProblem, Problem, dense_products
from sparsec.kernels.store import Output
from sparsec.kernels.tile import Grid, Tile, multiply
from sparsec.kernels.transpose import Turned
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
        turn = _turn(module, problem, isa)
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


def _turn(module: ir.Module, problem: MatmulProblem, isa: Isa) -> Call:
    """Add the function that makes [k, j] of q, stored as [j, k]."""
    planes, rows, columns = 1 if problem.shared_right else problem.batch, problem.columns, problem.inner
    stored, vectors = problem.right_lines, Vectors(isa.lanes())
    apart = "" if stored.line == columns else f"_{stored.line}-{stored.matrix}"
    name = f"f32_transpose_{planes}x{rows}x{columns}{apart}_{isa.suffix}"

    def put(target: Buffer, plane: Index, row: Index, column: Index, line: ir.Value, mask: ir.Value | None) -> None:
        vectors.store(line, target, plane * (rows * columns) + column * rows + row, mask)

    return Turned(planes, rows, columns, stored, "q", TURNED, planes * rows * columns).emit(module, name, isa, put)
