"""fp32 attention: softmax between two products, of which only a block of rows exists at a time, in level-1 cache.

A unit is a block of queries of one head: their scores, which are the products with all keys; the exponentials of these less
the row's maximum, and their sums; the products of those with v, divided by the sums at last. No matrix of queries x keys
is in memory (Dao et al., "FlashAttention", 2022, whose running maximum is not needed here: rows are whole).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.kernels.arithmetic import F32
from sparsec.kernels.emit import Buffer, Vectors, define, epilogue_buffers, local, loop
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.key_tiles import KEYS, KeyTiles
from sparsec.kernels.problem import AttentionProblem, Problem, dense_products
from sparsec.kernels.softmax_rows import LOWEST, SoftmaxRows
from sparsec.kernels.store import Output
from sparsec.kernels.tile import MOST_ROWS, PAGE, Grid, Tile, multiply
from sparsec.kernels.words import refusal

BLOCK_BYTES = 128 << 10  # of scores, on the stack


@dataclass(frozen=True, slots=True)
class AttentionDense:
    """`f32_attention_dense`: k is put in tiles first, where the layer before did not leave it so."""

    name: str = "f32_attention_dense"
    format: str = "dense"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if not isinstance(problem, AttentionProblem):
            return "not attention"
        if not problem.keys or not problem.size:
            return "there are no scores"
        if 4 * _pitch(problem, isa) > BLOCK_BYTES:
            return f"a row of scores is longer than {BLOCK_BYTES} bytes"
        return refusal(problem.arithmetic, F32, isa)

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, AttentionProblem)
        assert weight is None
        if not problem.matrices or not problem.queries:
            return LoweredLayer(())
        keys, attention = self.keys(problem, isa), _Attention.plan(problem, isa)
        calls = (keys.emit(module, isa), attention.emit(module, epilogue))
        return LoweredLayer(calls, scratch={keys.name: (keys.dtype, keys.elements)})

    def keys(self, problem: AttentionProblem, isa: Isa) -> KeyTiles:
        """How it reads k."""
        return KeyTiles(problem, isa.lanes())


def _pitch(problem: AttentionProblem, isa: Isa) -> int:
    """Elements from one row of scores to the next: whole vectors, and not a multiple of a page."""
    pitch = -(-problem.keys // isa.lanes()) * isa.lanes()
    return pitch + isa.lanes() if pitch % PAGE == 0 else pitch


@dataclass(frozen=True, slots=True)
class _Attention:
    """The main function of one problem: its blocks of queries are rows of tiles of the `first` product and of the `second`."""

    problem: AttentionProblem
    isa: Isa
    first: Grid
    second: Grid

    @classmethod
    def plan(cls, problem: AttentionProblem, isa: Isa) -> _Attention:
        """Blocks of the height with the fewest estimated cycles of both products."""
        pitch, apart = _pitch(problem, isa), problem.lines("q").line
        most = min(problem.queries, BLOCK_BYTES // (4 * pitch), MOST_ROWS)
        found = []
        for height in range(1, most + 1):
            first = Grid.plan(isa, problem.queries, problem.keys, problem.size, rows_apart=apart, height=height)
            second = Grid.plan(isa, problem.queries, problem.size, problem.keys, rows_apart=pitch, height=height)
            if first.tiles and second.tiles:
                found.append(cls(problem, isa, first, second))
        return min(found, key=lambda each: each.first.cycles(problem.size) + each.second.cycles(problem.keys))

    @property
    def vectors(self) -> Vectors:
        return self.first.vectors

    @property
    def keys(self) -> KeyTiles:
        return KeyTiles(self.problem, self.vectors.lanes)

    def emit(self, module: ir.Module, epilogue: Epilogue) -> Call:
        """Add the function."""
        problem, first, second, lanes = self.problem, self.first, self.second, self.vectors.lanes
        size, pitch, lines = problem.size, _pitch(problem, self.isa), problem.lines("y")
        outputs = problem.elements("q")
        buffers = {"q": ("f32", outputs), KEYS: ("f32", self.keys.elements), "v": ("f32", problem.elements("v"))}
        if problem.mask is not None:
            buffers["mask"] = ("f32", problem.elements("mask"))
        buffers |= {"y": (epilogue.result, outputs), **epilogue_buffers(epilogue, outputs, size)}
        name = f"f32_attention_dense_{problem.tag}_{first.tag}_{second.tag}_{epilogue.tag}_{self.isa.suffix}"
        softmax = SoftmaxRows(self.vectors, self.keys.bands)

        def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            scores, shares = (local("f32", first.rows.most * width) for width in (pitch, lanes))
            output = Output.of(module, name, self.isa, second, epilogue, memory, lines.line, along_channels=True)
            with loop(begin, end) as unit:
                head, part = unit // first.rows.parts, unit % first.rows.parts
                with loop(0, first.columns.parts) as column:
                    first.tile(part, column, lambda tile: self._score(memory, tile, head, scores))
                softmax.exponentiate(scores, first.rows.length(part), pitch, shares)
                with loop(0, second.columns.parts) as column:
                    output.tile(
                        part,
                        column,
                        lambda tile: self._weigh(memory["v"], tile, head, scores, shares),
                        lambda row, column: (head * lines.matrix + row * lines.line + column, column),
                    )

        define(module, name, buffers, body)
        return Call(name, tuple(buffers), problem.matrices * first.rows.parts, dense_products(problem))

    def _score(self, memory: Mapping[str, Buffer], tile: Tile, head: Index, scores: Buffer) -> None:
        """A tile of q k^T with the mask; what is beyond the last key is minus infinity."""
        problem, vectors, keys, lines = self.problem, self.vectors, self.keys, self.problem.lines("q")
        pitch, lowest = _pitch(problem, self.isa), vectors.splat(LOWEST)
        rows, band = tile.row * lines.line + head * lines.matrix, tile.column // vectors.lanes
        columns = [keys.place(head, band + v) for v in range(tile.width)]
        sums = multiply(
            tile,
            problem.size,
            lambda at: tile.splats(memory["q"], rows + at, lines.line),
            lambda at: [vectors.load(memory[KEYS], column + at * keys.width) for column in columns],
        )
        for row in range(tile.rows):
            added = self._mask(memory, tile, head, row)
            for v in range(tile.width):
                value, inside = sums[row * tile.width + v], tile.mask_of(v)
                value = value if added is None else arith.addf(value, added[v])
                value = value if inside is None else arith.select(inside, value, lowest)
                vectors.store(value, scores, tile.column + (row * pitch + v * vectors.lanes))

    def _mask(self, memory: Mapping[str, Buffer], tile: Tile, head: Index, row: int) -> list[ir.Value] | None:
        """What is added to a row of a tile of scores; it is loaded once where rows share it."""
        problem = self.problem
        if problem.mask is None:
            return None
        of_batch, of_head, of_query, of_key = problem.mask_steps
        at = head // problem.heads * of_batch + head % problem.heads * of_head + (tile.row + row) * of_query
        if not of_key:
            return [self.vectors.load_splat(memory["mask"], at)] * tile.width
        return tile.load(memory["mask"], at + tile.column)

    def _weigh(self, v: Buffer, tile: Tile, head: Index, scores: Buffer, shares: Buffer) -> list[ir.Value]:
        """A tile of the exponentials times v, divided by their sums."""
        lines, pitch = self.problem.lines("v"), _pitch(self.problem, self.isa)
        column = tile.column + head * lines.matrix
        sums = multiply(
            tile,
            self.problem.keys,
            lambda at: tile.splats(scores, at, pitch),
            lambda at: tile.load(v, column + at * lines.line),
        )
        share = [self.vectors.load(shares, row * self.vectors.lanes) for row in range(tile.rows)]
        return [arith.mulf(total, share[number // tile.width]) for number, total in enumerate(sums)]
