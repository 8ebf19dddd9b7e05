"""x on its way into tiles of tokens: transposed, a square of tokens by words at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch_mlir import ir

from sparsec.kernels.emit import Buffer, Vectors, choose, define, local, loop, when
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call
from sparsec.kernels.pack_words import emit_pack_rows
from sparsec.kernels.row_groups import PAGE
from sparsec.kernels.token_columns import columns, loaded
from sparsec.kernels.token_tile import TokenTiles

MOVED = 6  # multiply-adds that take as long as moving an element: for each element of a word
RUN = 4  # squares of words that are read at once where tokens are far apart


@dataclass(frozen=True, slots=True)
class Squares:
    """The words of a token, `whole` and perhaps one of which only `left` elements are there, in parts of `side` words or one."""

    whole: int
    left: int
    side: int

    @classmethod
    def of(cls, tokens: TokenTiles, sides: Sequence[int]) -> Squares:
        """Parts of the first of these widths that there are enough words for."""
        whole, left = divmod(tokens.problem.inputs, tokens.words.group)
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
    # Bytes of tokens that are whole pages apart share one set of the level-1 cache, and are read in longer runs.
    clashing = words.element == "i8" and problem.inputs % PAGE == 0
    squares = Squares.of(tokens, (RUN * tokens.lanes, tokens.lanes) if clashing else (tokens.lanes,))

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
    vectors, narrow = Vectors(side, words.dtype), loaded(side)
    for first in range(0, side, narrow):
        at = source + first * words.group
        lines = [words.load(x, at + row * pitch, narrow) for row in range(side)]
        for number, value in enumerate(columns(lines, narrow)):
            vectors.store(value, tiles, target + (first + number) * tokens.width)
