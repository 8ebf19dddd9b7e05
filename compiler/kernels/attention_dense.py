"""Attention: softmax between two products, of which only a block of rows exists at a time, in level-1 cache.

A unit is a block of queries of one head: their scores, which are the products with all keys; the exponentials of these less
the row's maximum, and their sums; the products of those with v, divided by the sums at last. No matrix of queries x keys
is in memory (Dao et al., "FlashAttention", 2022, whose running maximum is not needed here: rows are whole).

In bf16, q, k times the scale, the exponentials and v are rounded to bfloat16; scores and all sums are fp32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.kernels.arithmetic import F32, Arithmetic
from sparsec.kernels.emit import Buffer, Vectors, define, epilogue_buffers, local, loop
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.key_tiles import KEYS, KeyTiles
from sparsec.kernels.pack_words import pack_row
from sparsec.kernels.problem import AttentionProblem, Problem, dense_products
from sparsec.kernels.softmax_rows import LOWEST, Rows, SoftmaxRows
from sparsec.kernels.store import Output
from sparsec.kernels.tile import MOST_ROWS, PAGE, Grid, Tile, multiply
from sparsec.kernels.value_words import ValueWords
from sparsec.kernels.words import Words, refusal, words_of

BLOCK_BYTES = 128 << 10  # of scores, on the stack


@dataclass(frozen=True, slots=True)
class AttentionDense:
    """k is put in tiles first, where the layer before did not leave it so, and v in words, if these are not its elements."""

    arithmetic: Arithmetic = F32
    format: str = "dense"

    @property
    def name(self) -> str:
        return f"{self.arithmetic.name}_attention_dense"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if not isinstance(problem, AttentionProblem):
            return "not attention"
        if not problem.keys or not problem.size:
            return "there are no scores"
        if 4 * _pitch(problem.keys, isa) > BLOCK_BYTES:
            return f"a row of scores is longer than {BLOCK_BYTES} bytes"
        return refusal(problem.arithmetic, self.arithmetic, isa)

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, AttentionProblem)
        assert weight is None
        if not problem.matrices or not problem.queries:
            return LoweredLayer(())
        attention = _Attention.plan(problem, isa)
        keys, values = attention.keys, attention.values
        calls, scratch = [keys.emit(module, isa)], {keys.name: (keys.dtype, keys.elements)}
        if not attention.words.plain:
            calls.append(values.emit(module, isa))
            scratch[values.name] = values.buffer
        return LoweredLayer((*calls, attention.emit(module, epilogue)), scratch=scratch)

    def keys(self, problem: AttentionProblem, isa: Isa) -> KeyTiles:
        """How it reads k."""
        return KeyTiles(problem, isa.lanes(), _words(problem, isa))


def _words(problem: AttentionProblem, isa: Isa) -> Words:
    words = words_of(problem.arithmetic, isa)
    assert words is not None
    return words


def _pitch(elements: int, isa: Isa) -> int:
    """Elements of 32 bits from one row of so many to the next: whole vectors, and not a multiple of a page."""
    pitch = -(-elements // isa.lanes()) * isa.lanes()
    return pitch + isa.lanes() if pitch % PAGE == 0 else pitch


@dataclass(frozen=True, slots=True)
class _Attention:
    """The main function of one problem: its blocks of queries are rows of tiles of the `first` product and of the `second`."""

    problem: AttentionProblem
    isa: Isa
    words: Words
    first: Grid
    second: Grid

    @classmethod
    def plan(cls, problem: AttentionProblem, isa: Isa) -> _Attention:
        """Blocks of the height with the fewest estimated cycles of both products."""
        words = _words(problem, isa)
        size, keys = words.count(problem.size), words.count(problem.keys)
        apart = problem.lines("q").line if words.plain else _pitch(size, isa)
        most = min(problem.queries, BLOCK_BYTES // (4 * _pitch(problem.keys, isa)), MOST_ROWS)
        found = []
        for height in range(1, most + 1):
            first = Grid.plan(isa, problem.queries, problem.keys, size, rows_apart=apart, height=height)
            second = Grid.plan(isa, problem.queries, problem.size, keys, rows_apart=_pitch(keys, isa), height=height)
            if first.tiles and second.tiles:
                found.append(cls(problem, isa, words, first, second))
        return min(found, key=lambda each: each.first.cycles(size) + each.second.cycles(keys))

    @property
    def vectors(self) -> Vectors:
        return self.first.vectors

    @property
    def keys(self) -> KeyTiles:
        return KeyTiles(self.problem, self.vectors.lanes, self.words)

    @property
    def values(self) -> ValueWords:
        return ValueWords(self.problem, self.vectors.lanes, self.words)

    def emit(self, module: ir.Module, epilogue: Epilogue) -> Call:
        """Add the function."""
        problem, first, second, lanes = self.problem, self.first, self.second, self.vectors.lanes
        size, lines = problem.size, problem.lines("y")
        keys, values, outputs = self.keys, self.values, problem.elements("q")
        buffers = {"q": ("f32", outputs), KEYS: (keys.dtype, keys.elements), values.name: values.buffer}
        if problem.mask is not None:
            buffers["mask"] = ("f32", problem.elements("mask"))
        buffers |= {"y": (epilogue.result, outputs), **epilogue_buffers(epilogue, outputs, size)}
        kernel = AttentionDense(problem.arithmetic).name
        name = f"{kernel}_{problem.tag}_{first.tag}_{second.tag}_{epilogue.tag}_{self.isa.suffix}"
        softmax = SoftmaxRows(self.vectors, keys.bands, self.words)

        def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            scores, shares = self._rows("f32", problem.keys), local("f32", first.rows.most * lanes)
            grown = scores if self.words.plain else self._rows(self.words.dtype, self.words.count(problem.keys))
            output = Output.of(module, name, self.isa, second, epilogue, memory, lines.line, along_channels=True)
            with loop(begin, end) as unit:
                head, part = unit // first.rows.parts, unit % first.rows.parts
                q = self._queries(memory["q"], head, part)
                with loop(0, first.columns.parts) as column:
                    first.tile(part, column, lambda tile: self._score(memory, tile, head, q, scores))
                softmax.exponentiate(scores, first.rows.length(part), grown, shares)
                with loop(0, second.columns.parts) as column:
                    output.tile(
                        part,
                        column,
                        lambda tile: self._weigh(memory[values.name], tile, head, grown, shares),
                        lambda row, column: (head * lines.matrix + row * lines.line + column, column),
                    )

        define(module, name, buffers, body)
        return Call(name, tuple(buffers), problem.matrices * first.rows.parts, dense_products(problem))

    def _rows(self, dtype: str, elements: int) -> Rows:
        """Rows of a block on the stack."""
        pitch = _pitch(elements, self.isa)
        return Rows(local(dtype, self.first.rows.most * pitch), Index(0), pitch)

    def _queries(self, q: Buffer, head: Index, part: Index) -> Rows:
        """The rows of a block of q as words: where they lie, or packed."""
        lines, rows, words = self.problem.lines("q"), self.first.rows, self.words
        stored = Rows(q, head * lines.matrix + rows.start(part) * lines.line, lines.line)
        if words.plain:
            return stored
        packed = self._rows(words.dtype, words.count(self.problem.size))
        with loop(0, rows.length(part)) as row:
            at, to = stored.first + row * stored.pitch, row * packed.pitch
            pack_row(q, at, self.problem.size, packed.buffer, to, packed.pitch, words, self.vectors.lanes)
        return packed

    def _score(self, memory: Mapping[str, Buffer], tile: Tile, head: Index, q: Rows, scores: Rows) -> None:
        """A tile of q k^T with the mask; what is beyond the last key is minus infinity."""
        vectors, keys, lowest = self.vectors, self.keys, self.vectors.splat(LOWEST)
        band = tile.column // vectors.lanes
        columns = [keys.place(head, band + v) for v in range(tile.width)]
        words = Vectors(vectors.lanes, keys.dtype)
        sums = multiply(
            tile,
            keys.depth,
            lambda at: tile.splats(q.buffer, q.first + at, q.pitch),
            lambda at: [words.load(memory[KEYS], column + at * keys.width) for column in columns],
            self.words.multiply_add,
        )
        for row in range(tile.rows):
            added = self._mask(memory, tile, head, row)
            for v in range(tile.width):
                value, inside = sums[row * tile.width + v], tile.mask_of(v)
                value = value if added is None else arith.addf(value, added[v])
                value = value if inside is None else arith.select(inside, value, lowest)
                vectors.store(value, scores.buffer, tile.column + (row * scores.pitch + v * vectors.lanes))

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

    def _weigh(self, v: Buffer, tile: Tile, head: Index, grown: Rows, shares: Buffer) -> list[ir.Value]:
        """A tile of the exponentials times v, divided by their sums."""
        lines = self.values.lines
        column = tile.column + head * lines.matrix
        read = tile if self.words.plain else replace(tile, mask=None)  # words are padded
        sums = multiply(
            tile,
            self.values.depth,
            lambda at: tile.splats(grown.buffer, grown.first + at, grown.pitch),
            lambda at: read.load(v, column + at * lines.line),
            self.words.multiply_add,
        )
        share = [self.vectors.load(shares, row * self.vectors.lanes) for row in range(tile.rows)]
        return [arith.mulf(total, share[number // tile.width]) for number, total in enumerate(sums)]
