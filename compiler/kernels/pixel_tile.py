"""How output pixels are cut into equal tiles of vectors, and how a tile's vectors become dense rows of y.

A tile is a few whole rows of the output, or a piece of one row. Its vectors lie at constant steps from the tile's first
position, the same for every tile, so that a kernel's inner loop has constant addresses. Tiles at the end overlap their
neighbours, and a vector that holds pixels beyond the end of a row is repaired at the store by constant shuffles: no
masks on any instruction set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch_mlir import ir

from sparsec.kernels.conv_copy import BYTES
from sparsec.kernels.conv_layout import PaddedLayout
from sparsec.kernels.emit import Buffer, Vectors, finish, joined, loop, shuffle
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index, IndexLike, as_index, minimum
from sparsec.kernels.isa import Isa


@dataclass(frozen=True, slots=True)
class Piece:
    """A vector of y, `step` pixels into the tile; lane i is lane `picks[i][1]` of source vector `picks[i][0]`."""

    step: int
    picks: tuple[tuple[int, int], ...]

    @property
    def sources(self) -> frozenset[int]:
        return frozenset(source for source, _ in self.picks)


@dataclass(frozen=True, slots=True)
class Tile:
    """`axes` are (outputs, position stride) from outer to inner; a tile covers `lengths` of them.

    `steps` are the positions of its source vectors and `pieces` the vectors that it stores.
    """

    axes: tuple[tuple[int, int], ...]
    lengths: tuple[int, ...]
    lanes: int
    steps: tuple[int, ...]
    pieces: tuple[Piece, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Tiles along each axis."""
        return tuple(-(-size // length) for (size, _), length in zip(self.axes, self.lengths, strict=True))

    @property
    def count(self) -> int:
        """Tiles of one image and channel."""
        return math.prod(self.counts)

    @property
    def vectors(self) -> Vectors:
        return Vectors(self.lanes)

    @property
    def moved(self) -> int:
        """Shuffles that one store of the tile needs."""
        return sum(len(piece.sources) - 1 for piece in self.pieces)

    def runs(self, epilogue: Epilogue) -> list[tuple[Piece, ...]]:
        """The pieces, of bytes so many neighbouring ones together that they fill a vector, if there are."""
        together = BYTES // self.lanes if epilogue.result == "i8" else 1
        found: list[tuple[Piece, ...]] = []
        for piece in self.pieces:
            if found and len(found[-1]) < together and piece.step == found[-1][-1].step + self.lanes:
                found[-1] = (*found[-1], piece)
            else:
                found.append((piece,))
        return [part for run in found for part in ([run] if len(run) == together else [(piece,) for piece in run])]

    def each(self, body: Callable[[Index, Index], None]) -> None:
        """Build `body` for the position and the pixel at which each tile of an image begins, in a loop for each axis.

        Of two tiles along an axis the second begins at a product: of a minimum of numbers that are known, compilers make a
        choice for each address that follows.
        """
        self._each(0, Index(0), Index(0), body)

    def _each(self, number: int, position: Index, pixel: Index, body: Callable[[Index, Index], None]) -> None:
        if number == len(self.axes):
            body(position, pixel)
            return
        (size, stride), length, count = self.axes[number], self.lengths[number], self.counts[number]
        pixels = math.prod(size for size, _ in self.axes[number + 1 :])
        if count == 1:
            self._each(number + 1, position, pixel, body)
            return
        with loop(0, count) as part:
            start = part * (size - length) if count == 2 else minimum(part * length, size - length)
            self._each(number + 1, position + start * stride, pixel + start * pixels, body)

    def origin(self, number: Index) -> tuple[Index, Index]:
        """The position and the pixel at which tile `number` of an image begins."""
        position, pixel = Index(0), Index(0)
        pixels = math.prod(size for size, _ in self.axes)
        left = math.prod(self.counts)
        for (size, stride), length, count in zip(self.axes, self.lengths, self.counts, strict=True):
            pixels, left = pixels // size, left // count
            if count > 1:
                here = number if left * count == self.count else number % (left * count)
                start = minimum(here // left * length, size - length)
                position, pixel = position + start * stride, pixel + start * pixels
        return position, pixel


def _gather(sources: Sequence[ir.Value], picks: tuple[tuple[int, int], ...]) -> ir.Value:
    lanes = len(picks)
    first, *rest = sorted({source for source, _ in picks})
    value, place = sources[first], [lane if source == first else -1 for source, lane in picks]
    if not rest and place == list(range(lanes)):
        return value
    for other in rest or [first]:
        taken = [
            lanes + lane if source == other else max(at, 0) for (source, lane), at in zip(picks, place, strict=True)
        ]
        value = shuffle(value, sources[other], taken)
        place = [
            i if source == other or at >= 0 else -1
            for i, ((source, _), at) in enumerate(zip(picks, place, strict=True))
        ]
    return value


def emit_store(
    tile: Tile,
    totals: Sequence[ir.Value],
    epilogue: Epilogue,
    buffers: Mapping[str, Buffer],
    *,
    element: IndexLike,
    channel: IndexLike,
) -> None:
    """Store the tile's sums to "y" after the epilogue; its first pixel is `element` of y, of filter `channel`."""
    for run in tile.runs(epilogue):
        emit_pieces(tile, run, totals, epilogue, buffers, element=element, channel=channel)


def emit_pieces(
    tile: Tile,
    pieces: Sequence[Piece],
    totals: Sequence[ir.Value],
    epilogue: Epilogue,
    buffers: Mapping[str, Buffer],
    *,
    element: IndexLike,
    channel: IndexLike,
) -> None:
    """Store a run of `Tile.runs`, as soon as the sums that it takes lanes from are done."""
    at, vectors = as_index(element) + pieces[0].step, Vectors(len(pieces) * tile.lanes)
    total = joined([_gather(totals, piece.picks) for piece in pieces])
    tail = finish(vectors, epilogue, buffers, total, element=at, channel=channel)
    vectors.store(tail, buffers["y"], at)


def plan(layout: PaddedLayout, isa: Isa, *, most: int, work: float) -> Tile:
    """The cheapest tile of at most `most` vectors, for `work` multiply-adds per output pixel."""
    return min(tiles(layout, isa, most=most), key=lambda tile: _cycles(tile, work))


def tiles(layout: PaddedLayout, isa: Isa, *, most: int) -> list[Tile]:
    """All tiles of at most `most` vectors that are worth a look."""
    axes = layout.pixel_axes()
    width = axes[-1][0]
    lanes = isa.lanes() if layout.alignment > 1 else isa.lanes_for(width)
    vectors = -(-width // lanes)
    lengths = {-(-vectors // -(-vectors // count)) for count in range(1, min(most, vectors) + 1)}
    if layout.alignment > 1:
        return [_aligned_tile(axes, lanes, count) for count in lengths]
    parts = [_part_tile(axes, lanes, min(count * lanes, width)) for count in lengths]
    return parts if len(axes) == 1 else [*parts, *_row_tiles(axes, isa, most)]


def _cycles(tile: Tile, work: float) -> float:
    """Two loads per cycle, one for each multiply-add and one for each weight; one store and one shuffle per cycle."""
    return tile.count * (work * max(len(tile.steps) + 1, 4) / 2 + 1.5 * len(tile.pieces) + tile.moved)


def _aligned_tile(axes: tuple[tuple[int, int], ...], lanes: int, vectors: int) -> Tile:
    """Tiles of one long row with aligned vectors; of two, the second begins as near the end as that allows."""
    size = axes[0][0]
    length = min(vectors * lanes, size)
    if lanes < length < size <= 2 * length - lanes + size % lanes:
        length += size % lanes - lanes
    return Tile(axes, (length,), lanes, tuple(range(0, length, lanes)), _dense(1, length, lanes, {0: (0, 0)}))


def _part_tile(axes: tuple[tuple[int, int], ...], lanes: int, length: int) -> Tile:
    """Tiles of `length` pixels of one row."""
    starts = _cover(length, lanes)
    pieces = tuple(_whole(number, start, lanes) for number, start in enumerate(starts))
    return Tile(axes, (*(1 for _ in axes[1:]), length), lanes, starts, pieces)


def _row_tiles(axes: tuple[tuple[int, int], ...], isa: Isa, most: int) -> Iterator[Tile]:
    """Tiles of several whole rows: vectors that begin with each row, or that follow each other over the rows."""
    (height, pitch), (width, _) = axes[-2:]
    for rows in range(1, height + 1):
        lanes = isa.lanes_for(rows * width)
        lengths = (*(1 for _ in axes[2:]), rows, width)
        if width >= lanes and rows * -(-width // lanes) <= most:
            starts = [(row * pitch + at, row * width + at) for row in range(rows) for at in _cover(width, lanes)]
            pieces = tuple(_whole(n, pixel, lanes) for n, (_, pixel) in enumerate(starts))
            yield Tile(axes, lengths, lanes, tuple(position for position, _ in starts), pieces)
        if width < lanes and rows <= most:
            steps = tuple(row * pitch for row in range(rows))
            yield Tile(axes, lengths, lanes, steps, _dense(rows, width, lanes, {row: (row, 0) for row in range(rows)}))
        span = (rows - 1) * pitch + width
        if rows > most and span > most * lanes:
            return
        if span <= most * lanes:
            places = {row: divmod(row * pitch, lanes) for row in range(rows)}
            yield Tile(axes, lengths, lanes, tuple(range(0, span, lanes)), _dense(rows, width, lanes, places))


def _cover(length: int, lanes: int) -> tuple[int, ...]:
    """Starts of vectors that cover `length` >= lanes elements; the last ends with them."""
    return tuple(min(start, length - lanes) for start in range(0, length, lanes))


def _whole(source: int, step: int, lanes: int) -> Piece:
    return Piece(step, tuple((source, lane) for lane in range(lanes)))


def _dense(rows: int, width: int, lanes: int, places: Mapping[int, tuple[int, int]]) -> tuple[Piece, ...]:
    """The pieces of rows * width pixels, where row r begins in lane `places[r][1]` of source vector `places[r][0]`."""

    def pick(pixel: int) -> tuple[int, int]:
        row, column = divmod(pixel, width)
        source, lane = places[row]
        return source + (lane + column) // lanes, (lane + column) % lanes

    return tuple(Piece(step, tuple(pick(step + lane) for lane in range(lanes))) for step in _cover(rows * width, lanes))
