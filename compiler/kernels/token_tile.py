"""How tokens are cut into tiles of vectors: x is transposed on its way in, and a tile's sums on their way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch_mlir import ir

from sparsec.kernels.conv_layout import lanes_for
from sparsec.kernels.emit import Buffer, Vectors, choose, define, finish_abreast, joined, local, loop, shuffle, when
from sparsec.kernels.epilogue import Epilogue, Reach
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call
from sparsec.kernels.pack_words import PACKED, emit_pack_rows
from sparsec.kernels.problem import LinearProblem
from sparsec.kernels.row_groups import PAGE
from sparsec.kernels.split import Split
from sparsec.kernels.words import FP32, Words, words_of

MOVED = 6  # multiply-adds that take as long as moving an element: for each element of a word
Y_TILES = "y.tiles"  # the buffer of a layer that leaves y as tiles
QUAD = 4  # elements of a row that are loaded at once for a transposition
RUN = 4  # squares of words that are read at once where tokens clash


class Layout(Protocol):
    """How x lies where a linear layer reads it. The layer before it may leave its result so."""

    @property
    def name(self) -> str:
        """The buffer."""

    @property
    def dtype(self) -> str:
        """The type of its elements."""

    @property
    def elements(self) -> int:
        """How many it has."""

    def functions(self, isa: Isa) -> tuple[str, ...]:
        """The functions that fill it, the first from x and each from what the one before it made; equal layouts have equal ones."""

    def follows(self, before: TokenTiles) -> bool:
        """Whether what is computed in the tiles `before` can be put here."""

    def refuses(self, epilogue: Epilogue) -> str | None:
        """Why results of the epilogue cannot be put here; None if they can."""

    def put(self, values: Sequence[ir.Value], target: Buffer, tile: Index, column: Index) -> None:
        """Store the vectors of a column of x of a tile."""


@dataclass(frozen=True, slots=True)
class TokenTiles:
    """x as [tiles][inputs][most vectors][lanes] words, where `split` deals vectors of tokens to tiles.

    Vector number j of all begins at token min(j * lanes, tokens - lanes).
    """

    problem: LinearProblem
    lanes: int
    split: Split
    words: Words = FP32

    @classmethod
    def of(cls, problem: LinearProblem, isa: Isa, *, most: int) -> TokenTiles:
        """Tiles of at most so many vectors."""
        lanes, words = lanes_for(problem.tokens, isa), words_of(problem.arithmetic, isa)
        assert words is not None
        return cls(problem, lanes, Split.by(-(-problem.tokens // lanes), most), words)

    @property
    def inputs(self) -> int:
        """Words of a token."""
        return self.words.count(self.problem.inputs)

    @property
    def tiles(self) -> int:
        return self.split.parts

    @property
    def vectors(self) -> int:
        """Vectors of the widest tile."""
        return self.split.most

    @property
    def width(self) -> int:
        """Elements between neighbouring inputs of a tile."""
        return self.lanes * self.vectors

    @property
    def copied(self) -> bool:
        """False for a single token of fp32, whose x is its own transpose."""
        return self.problem.tokens > 1 or not self.words.plain

    @property
    def name(self) -> str:
        return self.source

    @property
    def dtype(self) -> str:
        return self.words.dtype

    @property
    def source(self) -> str:
        """The name of the buffer that kernels read."""
        if self.problem.tokens == 1:
            return PACKED if self.copied else "x"
        return "tiles"

    @property
    def elements(self) -> int:
        """Size of the buffer `source`."""
        return self.tiles * self.inputs * self.width

    def functions(self, isa: Isa) -> tuple[str, ...]:
        """The function that copies x to tiles."""
        shape = f"{self.problem.tokens}x{self.problem.inputs}_{self.tiles}x{self.vectors}x{self.lanes}"
        return (f"{self.words.arithmetic.name}_tile_tokens_{shape}_{self.words.element}_{isa.suffix}",)

    def follows(self, before: TokenTiles) -> bool:
        """Whether the sums of the tiles `before`, which are of as many outputs, lie as these tiles do."""
        return self.words.plain and self.of_the_same(before)

    def of_the_same(self, before: TokenTiles) -> bool:
        """Whether the tiles `before` have these tokens, and lead to as many outputs as there are inputs here."""
        alike = self.lanes == before.lanes and self.split == before.split
        return (
            alike and self.problem.tokens == before.problem.tokens > 1 and self.problem.inputs == before.problem.outputs
        )

    def refuses(self, epilogue: Epilogue) -> str | None:
        """Why no layer may leave these tiles; None if one may."""
        return None if epilogue.result == self.dtype else "y is not fp32"

    def put(self, values: Sequence[ir.Value], target: Buffer, tile: Index, column: Index) -> None:
        """Store the vectors of a column of a tile."""
        along, first = Vectors(self.lanes, self.dtype), (tile * self.inputs + column) * self.width
        for number, value in enumerate(values):
            along.store(value, target, first + number * self.lanes)

    def first(self, tile: Index, vector: int | Index) -> Index:
        """The first token of a vector of a tile."""
        return minimum((self.split.start(tile) + vector) * self.lanes, self.problem.tokens - self.lanes)


@dataclass(frozen=True, slots=True)
class Squares:
    """The words of a token, `whole` and perhaps one of which only `left` elements are there, in parts of `side` words or one."""

    whole: int
    left: int
    side: int

    @classmethod
    def of(cls, tokens: TokenTiles) -> Squares:
        """Parts that are as wide as a vector of tokens is long, if there are so many words.

        Bytes of tokens that are whole pages apart share one set of the level-1 cache, and are read in longer runs.
        """
        whole, left = divmod(tokens.problem.inputs, tokens.words.group)
        clashing = tokens.words.element == "i8" and tokens.problem.inputs % PAGE == 0
        sides = (RUN * tokens.lanes, tokens.lanes) if clashing else (tokens.lanes,)
        return cls(whole, left, next((side for side in sides if whole >= side), 1))

    @property
    def full(self) -> int:
        """Parts of whole words."""
        return -(-self.whole // self.side)

    @property
    def parts(self) -> int:
        return self.full + bool(self.left)

    def each(self, part: Index, body: Callable[[Index, int, int | None], None]) -> None:
        """Build `body(first word, words, elements of the one that is not whole)` for a part; the last full one may overlap."""

        def several() -> None:
            body(minimum(part * self.side, self.whole - self.side), self.side, None)

        if not self.left:
            several()
        elif not self.whole:
            body(Index(0), 1, self.left)
        else:
            choose(part < self.full, several, lambda: body(Index(self.whole), 1, self.left))


def emit_transpose(module: ir.Module, tokens: TokenTiles, isa: Isa) -> Call:
    """Add the function that copies x to tiles; one unit is `lanes` tokens by as many words, or by the last, ragged one."""
    problem, words = tokens.problem, tokens.words
    if problem.tokens == 1:
        return emit_pack_rows(module, 1, problem.inputs, words, isa)
    (name,) = tokens.functions(isa)
    spec = {
        "x": (words.arithmetic.stored, problem.tokens * problem.inputs),
        tokens.source: (words.dtype, tokens.elements),
    }
    squares = Squares.of(tokens)

    def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        x, tiles = buffers["x"], buffers[tokens.source]

        def copy(number: Index, column: Index, count: int, left: int | None) -> None:
            tile, vector = number // tokens.vectors, number % tokens.vectors
            source = tokens.first(tile, vector) * problem.inputs + column * words.group
            target = (tile * tokens.inputs + column) * tokens.width + vector * tokens.lanes
            with when(vector < tokens.split.length(tile)):
                if isa.tile_registers:
                    tiles.claim(target, count, tokens.width)
                emit_square(x, source, tiles, target, tokens, isa, count, left)

        with loop(begin, end) as unit:
            squares.each(unit % squares.parts, lambda *part: copy(unit // squares.parts, *part))

    define(module, name, spec, body)
    return Call(
        name,
        ("x", tokens.source),
        tokens.tiles * tokens.vectors * squares.parts,
        products=MOVED * words.group * tokens.elements,
    )


def emit_square(
    x: Buffer, source: Index, tiles: Buffer, target: Index, tokens: TokenTiles, isa: Isa, side: int, left: int | None
) -> None:
    """Copy `lanes` tokens by `side` words: as many, some times as many, or 1, of which the first `left` elements are read."""
    words, inputs = tokens.words, tokens.problem.inputs
    if side % tokens.lanes or left is not None:
        vectors = Vectors(side, words.dtype)
        with loop(0, tokens.lanes) as token:
            vectors.store(words.load(x, source + token * inputs, side, left), tiles, target + token)
    elif side > tokens.lanes or (isa.tile_registers and words.element == "i8"):
        rows, pitch = _copy_rows(x, source, tokens, side)
        with loop(0, side, tokens.lanes) as word:
            _turn_square(rows, word * words.group, pitch, tiles, target + word * tokens.width, tokens)
    else:
        _turn_square(x, source, inputs, tiles, target, tokens)


def _copy_rows(x: Buffer, source: Index, tokens: TokenTiles, side: int) -> tuple[Buffer, int]:
    """Copy `lanes` tokens by `side` words to the stack, token by token; returns that and the elements from one to the next.

    Where `fuse_prologue` makes the bytes of floats here, it makes 64 at a time.
    """
    row, pitch = Vectors(tokens.lanes * tokens.words.group, x.dtype), side * tokens.words.group
    rows = local(x.dtype, tokens.lanes * pitch)
    with loop(0, tokens.lanes) as token:
        for at in range(0, pitch, row.lanes):
            row.store(row.load(x, source + token * tokens.problem.inputs + at), rows, token * pitch + at)
    return rows, pitch


def _turn_square(x: Buffer, source: Index, pitch: int, tiles: Buffer, target: Index, tokens: TokenTiles) -> None:
    """Copy `lanes` tokens, `pitch` elements apart, by as many words."""
    words, side = tokens.words, tokens.lanes
    vectors, narrow = Vectors(side, words.dtype), min(QUAD, side)
    for first in range(0, side, narrow):
        at = source + first * words.group
        lines = [words.load(x, at + row * pitch, narrow) for row in range(side)]
        for number, value in enumerate(_columns(lines, narrow)):
            vectors.store(value, tiles, target + (first + number) * tokens.width)


def _columns(lines: Sequence[ir.Value], count: int) -> list[ir.Value]:
    """The columns of rows of `count` <= QUAD elements: `count` vectors with an element of every row.

    Rows, which are loaded as they are, are put side by side and then turned inside their quarters, by interleaving: half the
    shuffles of a transposition of whole vectors, and those that x86 has most units for.
    """
    turned, half = [joined(lines[first::count]) for first in range(count)], count // 2
    for _ in range(count.bit_length() - 1):
        pairs = list(zip(turned[:half], turned[half:], strict=True))
        turned = [_interleaved(*pair, first, count) for pair in pairs for first in (0, half)]
    return turned


def _interleaved(one: ir.Value, other: ir.Value, first: int, count: int) -> ir.Value:
    """Of each `count` lanes of two vectors half as many, from number `first` on, in turn."""
    lanes = ir.VectorType(one.type).shape[0]
    starts = range(first, lanes, count)
    return shuffle(one, other, [at + n + which for at in starts for n in range(count // 2) for which in (0, lanes)])


@dataclass(frozen=True, slots=True)
class TokenStore:
    """Stores sums of a tile, held in `sums` with rows `pitch` elements apart, to the token-major "y", `block` outputs at a time.

    A few tokens get all their outputs before the next: rows of y that are a multiple of a page apart share one set of
    the level-1 cache.
    """

    tokens: TokenTiles
    block: int
    epilogue: Epilogue
    buffers: Mapping[str, Buffer]
    sums: Buffer
    pitch: int

    @staticmethod
    def block_for(tokens: TokenTiles, isa: Isa) -> int:
        """Outputs that are stored together."""
        most = lanes_for(tokens.problem.outputs, isa)
        return most if tokens.lanes == 1 else min(most, tokens.lanes)

    def emit(self, tile: Index, output: Index, rows: Index) -> None:
        """Store the first `rows` >= block rows of the sums as the outputs from `output` on."""
        tokens, block, last = self.tokens, self.block, rows - self.block
        narrow = min(QUAD, tokens.lanes) if tokens.lanes == block else 1
        with loop(0, tokens.split.length(tile)) as vector, loop(0, tokens.lanes, narrow) as lane:
            token = tokens.first(tile, vector) + lane
            with loop(0, (rows + (block - 1)) // block) as part:
                row = minimum(part * block, last)
                origin = row * self.pitch + vector * tokens.lanes + lane
                self._columns(origin, token, output + row, narrow)

    def _columns(self, origin: Index, token: Index, output: Index, count: int) -> None:
        """Store `count` tokens from `token` by `block` outputs from `output`; their sums begin at `origin`."""
        pitch, outputs, along = self.pitch, self.tokens.problem.outputs, Vectors(self.block, self.sums.dtype)
        at = token * outputs + output
        if self.tokens.width == 1:
            self._put([along.load(self.sums, origin)], along, [at], output)
        elif self.tokens.lanes == self.block:
            narrow = Vectors(count, self.sums.dtype)
            lines = [narrow.load(self.sums, origin + row * pitch) for row in range(self.block)]
            self._put(_columns(lines, count), along, [at + number * outputs for number in range(count)], output)
        else:
            one = Vectors(1, self.sums.dtype)
            with loop(0, self.block) as row:
                self._put([one.load(self.sums, origin + row * pitch)], one, [at + row], output + row)

    def _put(self, values: Sequence[ir.Value], width: Vectors, elements: Sequence[Index], channel: Index) -> None:
        """Store vectors of sums of the same channels at the `elements`."""
        tails = finish_abreast(
            width,
            self.epilogue,
            self.buffers,
            values,
            elements=elements,
            channels=[channel] * len(values),
            along_channels=True,
        )
        for tail, element in zip(tails, elements, strict=True):
            width.store(tail, self.buffers["y"], element)


@dataclass(frozen=True, slots=True)
class TileStore:
    """Stores sums as `TokenStore` does, but to "y.tiles", as the layer behind reads them: nothing is turned."""

    tokens: TokenTiles
    behind: Layout
    epilogue: Epilogue
    buffers: Mapping[str, Buffer]
    sums: Buffer
    pitch: int

    @staticmethod
    def refuses(behind: Layout, epilogue: Epilogue) -> str | None:
        """None if it can, else the reason in words."""
        if any(operand.reach == Reach.FULL for operand in epilogue.operands):
            return "an operand of the epilogue is as large as y, and not in tiles"
        return behind.refuses(epilogue)

    def emit(self, tile: Index, output: Index, rows: Index) -> None:
        """Store the first `rows` rows of the sums as the outputs from `output` on."""
        lanes, along = self.tokens.lanes, Vectors(self.tokens.lanes, self.sums.dtype)

        def store(count: int) -> None:
            with loop(0, rows) as row:
                totals = [along.load(self.sums, row * self.pitch + vector * lanes) for vector in range(count)]
                places = [Index(0)] * count  # of operands that there are not
                channels = [output + row] * count
                tails = finish_abreast(along, self.epilogue, self.buffers, totals, elements=places, channels=channels)
                self.behind.put(tails, self.buffers[Y_TILES], tile, output + row)

        self.tokens.split.each_length(tile, store)
