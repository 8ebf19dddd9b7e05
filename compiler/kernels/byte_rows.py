"""Bytes of tokens as rows, one for each column of x, from which words of any four columns are interleaved.

A row holds one column for four vectors of tokens: of every 16 bytes, four tokens of each vector. So interleaving four rows,
first bytes and then pairs, gives the words of the first vector, the second, ….
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch_mlir import ir
from torch_mlir.dialects import vector

from sparsec.kernels.emit import Buffer, Vectors, define, joined, local, loop, shuffle, when
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call
from sparsec.kernels.token_columns import columns, loaded
from sparsec.kernels.token_copy import MOVED, RUN, Squares, emit_square
from sparsec.kernels.token_tile import TokenTiles

GROUP = 4  # bytes of a word, and vectors of a tile
ROWS = "byte rows"  # the buffer
LANE = 16  # bytes inside which instructions interleave


@dataclass(frozen=True, slots=True)
class ByteRows:
    """x as [tiles][inputs, filled up to whole words][4 * lanes] bytes, for the tiles of `tokens`."""

    tokens: TokenTiles

    @property
    def name(self) -> str:
        return ROWS

    @property
    def dtype(self) -> str:
        return "i8"

    @property
    def pitch(self) -> int:
        """Bytes of a row."""
        return GROUP * self.tokens.lanes

    @property
    def elements(self) -> int:
        return self.tokens.tiles * self.tokens.inputs * GROUP * self.pitch

    @property
    def abreast(self) -> int:
        return 1

    def functions(self, isa: Isa) -> tuple[str, ...]:
        """The copy to rows."""
        tokens = self.tokens
        shape = f"{tokens.problem.tokens}x{tokens.problem.inputs}_{tokens.tiles}x{tokens.vectors}x{tokens.lanes}"
        return (f"u8_byte_rows_{shape}_{isa.suffix}",)

    def follows(self, before: TokenTiles) -> bool:
        """Whether the sums of the tiles `before`, which are of as many outputs, are those of these tokens."""
        return not self.tokens.words.shift and self.tokens.of_the_same(before)

    def refuses(self, epilogue: Epilogue) -> str | None:
        """Why no layer may leave these rows; None if one may."""
        return None if epilogue.result == self.dtype else "y is not of bytes"

    def put(self, values: Sequence[Sequence[ir.Value]], target: Buffer, tile: Index, column: Index) -> None:
        """Store the vectors of a column of a tile: four tokens of each in turn."""
        lanes, narrow = self.tokens.lanes, Vectors(self.tokens.lanes, self.dtype)
        whole = joined([*values[0], *[narrow.splat(0)] * (GROUP - len(values[0]))])
        places = [
            which * lanes + first + number
            for first in range(0, lanes, GROUP)
            for which in range(GROUP)
            for number in range(GROUP)
        ]
        row = Vectors(self.pitch, self.dtype)
        row.store(shuffle(whole, whole, places), target, (tile * (self.tokens.inputs * GROUP) + column) * self.pitch)

    def emit(self, module: ir.Module, isa: Isa) -> Call:
        """Add the function that copies x to rows; one unit is some words of all tokens of a tile: runs of as many as a vector
        has, or the last ones."""
        tokens, lanes = self.tokens, self.tokens.lanes
        (name,) = self.functions(isa)
        problem = tokens.problem
        # The longest of those runs that read the fewest words twice, as the last one ends where words do.
        words, sides = problem.inputs // GROUP, [run * lanes for run in range(RUN, 0, -1)]
        squares = Squares.of(tokens, sorted(sides, key=lambda side: -(-words // side) * side))
        spec = {
            "x": (tokens.words.arithmetic.stored, problem.tokens * problem.inputs),
            ROWS: (self.dtype, self.elements),
        }

        def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            held = local(tokens.dtype, max(squares.side * GROUP * lanes, tokens.width))

            def copy(tile: Index, column: Index, count: int, left: int | None = None) -> None:
                if isa.tile_registers:
                    first = (tile * tokens.inputs + column) * (GROUP * self.pitch)
                    buffers[ROWS].claim(first, count * GROUP, self.pitch)
                if count % lanes == 0 and left is None:
                    self._interleave(buffers["x"], held, tile, column, count // lanes)
                    self._gather(held, buffers[ROWS], (tile * tokens.inputs + column) * GROUP, count // lanes)
                    return
                for number in range(tokens.vectors):
                    with when(Index(number) < tokens.split.length(tile)):
                        at = tokens.first(tile, number) * problem.inputs + column * GROUP
                        emit_square(buffers["x"], at, held, Index(number * lanes), tokens, isa, count, left)
                self._turn(held, Index(0), buffers[ROWS], tile * tokens.inputs + column)

            with loop(begin, end) as unit:
                squares.each(unit % squares.parts, lambda *part: copy(unit // squares.parts, *part))

        define(module, name, spec, body)
        return Call(name, tuple(spec), tokens.tiles * squares.parts, products=2 * MOVED * self.elements)

    def _interleave(self, x: Buffer, held: Buffer, tile: Index, column: Index, runs: int) -> None:
        """Make words of any four tokens that are neighbours, for the columns of so many runs of words: [runs][GROUP][lanes]
        [lanes].

        Vector number [run, part, place] has the tokens of four bytes of a row, from byte GROUP * place on, of the columns
        LANE * n + GROUP * part + (0, 1, 2, 3) of the run.
        """
        tokens, lanes, inputs = self.tokens, self.tokens.lanes, self.tokens.problem.inputs
        narrow, wide = Vectors(self.pitch, x.dtype), Vectors(lanes, held.dtype)
        for number in range(tokens.vectors):
            with when(Index(number) < tokens.split.length(tile)), loop(0, lanes, GROUP) as lane, loop(0, runs) as run:
                source = (tokens.first(tile, number) + lane) * inputs + (column * GROUP + run * self.pitch)
                four = [narrow.load(x, source + token * inputs) for token in range(GROUP)]
                elements = [tokens.words.shifted(codes) for codes in four]
                for part, words in enumerate(interleaved(elements, lanes)):
                    wide.store(words, held, (lane + number + (run * GROUP + part) * lanes) * lanes)

    def _gather(self, held: Buffer, rows: Buffer, first: Index, runs: int) -> None:
        """Store the rows of so many runs of words, from row number `first` on, whose words of tokens are `held`."""
        lanes, vectors = self.tokens.lanes, self.tokens.vectors
        read, row = Vectors(loaded(lanes), held.dtype), Vectors(self.pitch, self.dtype)
        nothing = read.splat(0)
        with loop(0, runs) as run, loop(0, GROUP) as part:
            source, target = (run * GROUP + part) * (lanes * lanes), first + run * self.pitch + part * GROUP
            for at in range(0, lanes, read.lanes):
                places = [source + (place * lanes + at) for place in range(lanes)]
                lines = [
                    read.load(held, place) if number % GROUP < vectors else nothing
                    for number, place in enumerate(places)
                ]
                for number, words in enumerate(columns(lines, read.lanes), at):
                    behind = number // GROUP * LANE + number % GROUP
                    row.store(vector.bitcast(row.type, words), rows, (target + behind) * self.pitch)

    def _turn(self, words: Buffer, at: Index, rows: Buffer, number: Index) -> None:
        """Store the four rows of a word of all tokens of a tile, which is word `number` of all."""
        lanes, vectors, narrow = self.tokens.lanes, self.tokens.vectors, Vectors(self.pitch, self.dtype)
        wide = Vectors(lanes, words.dtype)
        turned = [
            LANE * lane + 4 * token + byte for lane in range(lanes // 4) for byte in range(4) for token in range(4)
        ]
        read = [wide.load(words, at + v * lanes) for v in range(vectors)]
        read += [wide.splat(0)] * (GROUP - vectors)
        squares = [vector.bitcast(narrow.type, value) for value in read]
        squares = [shuffle(value, value, turned) for value in squares]
        low, high = _zip_halves(squares, 4)
        for byte in range(GROUP):
            row = _zip(low[byte // 2], high[byte // 2], byte % 2, 8)
            narrow.store(row, rows, (number * GROUP + byte) * self.pitch)


def interleaved(columns: Sequence[ir.Value], lanes: int) -> list[ir.Value]:
    """Four vectors of words, each of whose bytes come from the four columns; from rows."""
    low, high = _zip_halves(columns, 1)
    zipped = [_zip(low[half], high[half], part, 2) for half in (0, 1) for part in (0, 1)]
    return [vector.bitcast(Vectors(lanes, "i32").type, value) for value in zipped]


def _zip_halves(four: Sequence[ir.Value], size: int) -> tuple[list[ir.Value], list[ir.Value]]:
    """Lower and upper half of the first two of four vectors, and of the other two, element by element."""
    low = [_zip(four[0], four[1], half, size) for half in (0, 1)]
    return low, [_zip(four[2], four[3], half, size) for half in (0, 1)]


def _zip(left: ir.Value, right: ir.Value, half: int, size: int) -> ir.Value:
    """Elements of `size` bytes of left and right in turn, from the lower or upper half of every 16 bytes."""
    total = ir.VectorType(left.type).shape[0]
    kind = Vectors(total // size, f"i{8 * size}").type
    one, other = (vector.bitcast(kind, value) for value in (left, right))
    each, count = LANE // size, total // size
    places = [
        lane + half * each // 2 + number + which * count
        for lane in range(0, count, each)
        for number in range(each // 2)
        for which in (0, 1)
    ]
    return vector.bitcast(Vectors(total, "i8").type, shuffle(one, other, places))
