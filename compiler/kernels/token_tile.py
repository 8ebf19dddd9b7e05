"""How tokens are cut into tiles of vectors: x is transposed on its way in, and a tile's sums on their way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch_mlir import ir

from sparsec.kernels.conv_layout import lanes_for
from sparsec.kernels.emit import Buffer, Index, Split, Vectors, define, finish, loop, minimum, shuffle, when
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call
from sparsec.kernels.problem import LinearProblem

QUAD = 4  # elements of a row that are loaded at once for a transposition


@dataclass(frozen=True, slots=True)
class TokenTiles:
    """x as [tiles][inputs][most vectors][lanes], where `split` deals vectors of tokens to tiles.

    Vector number j of all begins at token min(j * lanes, tokens - lanes).
    """

    problem: LinearProblem
    lanes: int
    split: Split

    @classmethod
    def of(cls, problem: LinearProblem, isa: Isa, *, most: int) -> TokenTiles:
        """Tiles of at most so many vectors."""
        lanes = lanes_for(problem.tokens, isa)
        return cls(problem, lanes, Split.by(-(-problem.tokens // lanes), most))

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
        """False for a single token, whose x is its own transpose."""
        return self.problem.tokens > 1

    @property
    def source(self) -> str:
        """The name of the buffer that kernels read."""
        return "tiles" if self.copied else "x"

    @property
    def elements(self) -> int:
        """Size of the buffer `source`."""
        return self.tiles * self.problem.inputs * self.width

    def first(self, tile: Index, vector: int | Index) -> Index:
        """The first token of a vector of a tile."""
        return minimum((self.split.start(tile) + vector) * self.lanes, self.problem.tokens - self.lanes)


def emit_transpose(module: ir.Module, problem: LinearProblem, tokens: TokenTiles, isa: Isa) -> Call:
    """Add the function that copies x to "tiles"; one unit is `lanes` tokens by as many inputs."""
    name = (
        f"f32_tile_tokens_{problem.tokens}x{problem.inputs}_{tokens.tiles}x{tokens.vectors}x{tokens.lanes}_{isa.suffix}"
    )
    spec = {"x": ("f32", problem.tokens * problem.inputs), "tiles": ("f32", tokens.elements)}
    side = tokens.lanes if problem.inputs >= tokens.lanes else 1
    parts = -(-problem.inputs // side)

    def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        with loop(begin, end) as unit:
            number, column = unit // parts, minimum(unit % parts * side, problem.inputs - side)
            tile, vector = number // tokens.vectors, number % tokens.vectors
            source = tokens.first(tile, vector) * problem.inputs + column
            target = (tile * problem.inputs + column) * tokens.width + vector * tokens.lanes
            with when(vector < tokens.split.length(tile)):
                _emit_square(buffers["x"], source, problem.inputs, buffers["tiles"], target, tokens, side)

    define(module, name, spec, body)
    return Call(name, ("x", "tiles"), tokens.tiles * tokens.vectors * parts, products=tokens.elements)


def _emit_square(
    x: Buffer, source: Index, inputs: int, tiles: Buffer, target: Index, tokens: TokenTiles, side: int
) -> None:
    """Copy `lanes` tokens by `side` inputs (as many, or 1)."""
    vectors = Vectors(side)
    if side == tokens.lanes:
        narrow = min(QUAD, side)
        for first in range(0, side, narrow):
            for number, value in enumerate(_columns(x, source + first, inputs, side, narrow)):
                vectors.store(value, tiles, target + (first + number) * tokens.width)
    else:
        with loop(0, tokens.lanes) as token:
            vectors.store(vectors.load(x, source + token * inputs), tiles, target + token)


def _columns(source: Buffer, at: Index, pitch: int, rows: int, count: int) -> list[ir.Value]:
    """The first `count` <= QUAD elements of `rows` rows, which begin `pitch` elements from each other, as vectors of rows.

    Quarters of rows are put side by side as they are loaded, and turned inside their quarters: half the shuffles of a
    transposition of whole vectors.
    """
    narrow = Vectors(count)
    lines = [narrow.load(source, at + row * pitch) for row in range(rows)]
    beside = [_joined(lines[first::count], count) for first in range(count)]
    return _turned(beside)


def _turned(lines: list[ir.Value]) -> list[ir.Value]:
    """Transpose the squares that equal lanes of `lines` form: log2(lines) rounds that swap ever smaller corners."""
    count, lanes = len(lines), ir.VectorType(lines[0].type).shape[0]
    distance = count // 2
    while distance:
        upper = [lane if not lane & distance else lanes + lane - distance for lane in range(lanes)]
        lower = [lane + distance if not lane & distance else lanes + lane for lane in range(lanes)]
        for i in range(count):
            if not i & distance:
                pair = lines[i], lines[i + distance]
                lines[i], lines[i + distance] = shuffle(*pair, upper), shuffle(*pair, lower)
        distance //= 2
    return lines


def _joined(parts: Sequence[ir.Value], lanes: int) -> ir.Value:
    """The parts, of so many lanes, behind each other."""
    parts = list(parts)
    while len(parts) > 1:
        parts = [shuffle(low, high, range(2 * lanes)) for low, high in zip(parts[::2], parts[1::2], strict=True)]
        lanes *= 2
    return parts[0]


@dataclass(frozen=True, slots=True)
class TokenStore:
    """Stores sums [rows][width] of a tile, held in `sums`, to the token-major "y", `block` outputs at a time.

    A few tokens get all their outputs before the next: rows of y that are a multiple of a page apart share one set of
    the level-1 cache.
    """

    tokens: TokenTiles
    block: int
    epilogue: Epilogue
    buffers: Mapping[str, Buffer]
    sums: Buffer

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
                origin = row * tokens.width + vector * tokens.lanes + lane
                self._columns(origin, token, output + row, narrow)

    def _columns(self, origin: Index, token: Index, output: Index, count: int) -> None:
        """Store `count` tokens from `token` by `block` outputs from `output`; their sums begin at `origin`."""
        width, outputs, along = self.tokens.width, self.tokens.problem.outputs, Vectors(self.block)
        at = token * outputs + output
        if width == 1:
            self._put(along.load(self.sums, origin), along, at, output)
        elif self.tokens.lanes == self.block:
            for number, value in enumerate(_columns(self.sums, origin, width, self.block, count)):
                self._put(value, along, at + number * outputs, output)
        else:
            one = Vectors(1)
            with loop(0, self.block) as row:
                self._put(one.load(self.sums, origin + row * width), one, at + row, output + row)

    def _put(self, value: ir.Value, width: Vectors, element: Index, channel: Index) -> None:
        tail = finish(width, self.epilogue, self.buffers, value, element=element, channel=channel, along_channels=True)
        width.store(tail, self.buffers["y"], element)
