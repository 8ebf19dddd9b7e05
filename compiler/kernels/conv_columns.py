"""Convolution with an unstructured sparse weight as a product over columns: all (channel, tap) pairs of a filter.

A tile of pixels is gathered block of columns by block into a small aligned buffer, which then stays in L1 while all
filters walk over it. That costs one load and one store per vector and column, which each further use of it saves.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.blocked import Blocked
from sparsec.kernels.conv_layout import lanes_for
from sparsec.kernels.conv_window import Window, emit_window
from sparsec.kernels.counted_rows import CountedRows, WordRuns, step_of
from sparsec.kernels.emit import (
    Buffer,
    Index,
    Split,
    Vectors,
    define,
    differs,
    epilogue_buffers,
    finish,
    local,
    loop,
    minimum,
)
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer
from sparsec.kernels.pack_words import source_of
from sparsec.kernels.problem import ConvProblem
from sparsec.kernels.spmm import ROW_COST, Held, RowTile
from sparsec.kernels.store import is_long
from sparsec.kernels.words import Words

BLOCK_BYTES = 48 << 10  # so much of x in L1 at a time
TILE_PIXELS = 64  # wider tiles mean fewer columns in a block, and so shorter visits
HELD_ROWS = 512  # whose sums are on the stack at once
GATHER, FAR_GATHER = 2.5, 4.0  # cycles per vector, of images that fit L2 and of larger ones
L2_BYTES = 1 << 20
UNITS = 4  # enough to share among threads
REPEATS = 2  # groups of rows that each gather their tile; for more it is gathered once, to memory


def tile_vectors(isa: Isa) -> int:
    """Vectors of the widest tile of pixels."""
    return max(1, min(TILE_PIXELS // isa.lanes(), isa.row_vectors))


@dataclass(frozen=True, slots=True)
class PixelTiles:
    """`split` deals vectors of an image's pixels to tiles; vector number j begins at pixel min(j * lanes, pixels - lanes)."""

    pixels: int
    lanes: int
    split: Split

    @classmethod
    def of(cls, pixels: int, isa: Isa, *, most: int) -> PixelTiles:
        """Tiles of at most so many vectors."""
        lanes = lanes_for(pixels, isa)
        return cls(pixels, lanes, Split.by(-(-pixels // lanes), most))

    @property
    def count(self) -> int:
        return self.split.parts

    @property
    def width(self) -> int:
        """Elements of the widest tile."""
        return self.lanes * self.split.most

    def places(self, tile: Index, count: int) -> list[Index]:
        """The first pixels of the vectors of a tile of so many."""
        first = self.split.start(tile) * self.lanes
        return [
            first + number * self.lanes if number < count - 1 else minimum(first + number * self.lanes, self._last)
            for number in range(count)
        ]

    @property
    def _last(self) -> int:
        return self.pixels - self.lanes


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the columns of a convolution are read.

    If `window` is None, in x itself: pixel p of a tap is sample p + constant there, or padding.
    """

    problem: ConvProblem
    tiles: PixelTiles
    window: Window | None
    source: str
    words: Words

    @classmethod
    def of(cls, problem: ConvProblem, tiles: PixelTiles, isa: Isa) -> Columns:
        alike = all(axis.stride == 1 and axis.out == axis.size for axis in problem.axes)
        source, words = source_of(problem, isa)
        if alike:
            return cls(problem, tiles, None, source, words)
        return cls(problem, tiles, Window.of(problem), "window", words)

    @property
    def inside(self) -> int:
        """Channels of a group."""
        return self.problem.channels // self.problem.groups

    @property
    def channel(self) -> int:
        """Elements from one channel to the next."""
        return self.problem.pixels if self.window is None else self.window.channel

    @property
    def masked(self) -> bool:
        """Whether taps read padding."""
        return self.window is None and not self.problem.pointwise

    @property
    def weights(self) -> dict[str, NDArray[np.generic]]:
        """The buffers that `gather` and the copy need beside x."""
        if self.window is not None:
            taps = self.window.offsets()[: self.problem.taps]
            return {"taps": taps, "planes": self.window.table()}
        if self.problem.pointwise:
            return {}
        shifts, inside = _reach(self.problem)
        return {"taps": (shifts + self._farthest).astype(np.int32), "inside": inside.reshape(-1)}

    @property
    def _farthest(self) -> int:
        """How far before its pixel a sample may lie."""
        return -int(_reach(self.problem)[0].min())

    @property
    def spec(self) -> dict[str, tuple[str, int]]:
        """The buffers that `gather` reads."""
        taps, elements = self.problem.taps, self.problem.batch * self.problem.channels * self.channel
        spec = {self.source: (self.words.dtype, elements)}
        if not self.problem.pointwise:
            spec["taps"] = ("i32", taps)
        if self.masked:
            spec["inside"] = ("i8", taps * self.problem.pixels)
        return spec

    def gather(
        self,
        buffers: Mapping[str, Buffer],
        target: Buffer,
        at: Index,
        matrix: Index,
        places: Sequence[Index],
        channels: tuple[Index, Index],
    ) -> None:
        """Copy vectors of pixels at `places` of all columns of the channels [first, behind) to rows of `target` from `at` on.

        `matrix` counts images and groups of channels. Taps are the outer loop, for their masks.
        """
        source, vectors = buffers[self.source], Vectors(self.tiles.lanes, self.words.dtype)
        padding = self.words.padding(self.problem.pad_value)
        first, behind = channels
        with loop(0, self.problem.taps) as tap:
            masks = [self.mask(buffers, tap, place) for place in places]
            base = (matrix * self.inside + first) * self.channel + self.shift(buffers, tap)
            with loop(0, behind - first) as channel:
                row = at + (channel * self.problem.taps + tap) * self.tiles.width
                for number, (place, mask) in enumerate(zip(places, masks, strict=True)):
                    value = vectors.load(source, base + channel * self.channel + place, mask, padding)
                    vectors.store(value, target, row + number * self.tiles.lanes)

    def shift(self, buffers: Mapping[str, Buffer], tap: Index) -> Index:
        """From pixel 0 to its sample; it may lie before the buffer, where masks leave it out."""
        if self.problem.pointwise:
            return Index(0)
        shift = buffers["taps"].load_index(tap)
        return shift - self._farthest if self.masked else shift

    def mask(self, buffers: Mapping[str, Buffer], tap: Index, place: Index) -> ir.Value | None:
        """The lanes of pixels from `place` on that are no padding."""
        if not self.masked:
            return None
        marks = Vectors(self.tiles.lanes, "i8")
        return differs(marks.load(buffers["inside"], tap * self.problem.pixels + place), marks.splat(0))


def _reach(problem: ConvProblem) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Per tap, the number of its sample less that of the pixel, and 1 for each pixel whose sample exists.

    For convolutions of stride 1 with as many pixels as samples on each axis.
    """
    sizes = [axis.size for axis in problem.axes]
    steps = [math.prod(sizes[number + 1 :]) for number in range(len(sizes))]
    shifts, inside = [], []
    for taps in np.ndindex(*(axis.kernel for axis in problem.axes)):
        moved = [tap * axis.dilation - axis.before for tap, axis in zip(taps, problem.axes, strict=True)]
        shifts.append(sum(move * step for move, step in zip(moved, steps, strict=True)))
        places = [np.arange(size) + move for size, move in zip(sizes, moved, strict=True)]
        exists = [(place >= 0) & (place < size) for place, size in zip(places, sizes, strict=True)]
        inside.append(functools.reduce(np.multiply.outer, exists).astype(np.uint8).reshape(-1))
    return np.array(shifts), np.array(inside)


@dataclass(frozen=True, slots=True)
class ConvColumns:
    """The schedule: tiles of pixels by groups of neighbouring filters, `bounds[g]` ... `bounds[g + 1]`.

    If `shared`, columns are gathered by a call of their own.
    """

    kernel: str
    columns: Columns
    bounds: NDArray[np.int64]
    counted: CountedRows
    shared: bool

    @classmethod
    def of(cls, kernel: str, problem: ConvProblem, weight: Blocked, isa: Isa) -> ConvColumns | None:
        """For a weight in words of single rows.

        None if the columns of a channel are too many for 16-bit offsets, or if there is nothing to compute.
        """
        tiles = PixelTiles.of(problem.pixels, isa, most=tile_vectors(isa))
        if not weight.blocks or problem.taps * tiles.width > 1 << 16:
            return None
        columns = Columns.of(problem, tiles, isa)
        inside = problem.filters // problem.groups
        together = problem.batch * tiles.count * problem.groups  # units if filters are one group
        shared = -(-UNITS // together) > REPEATS
        parts = -(-UNITS * (2 if shared else 1) // together)
        parts = min(max(parts, -(-inside // HELD_ROWS)), inside)
        bounds = np.concatenate(
            [
                *(_cuts(weight.counts, first, inside, parts) for first in range(0, problem.filters, inside)),
                [problem.filters],
            ]
        )
        channels = max(1, min(BLOCK_BYTES // (4 * tiles.width * max(problem.taps, 1)), columns.inside))
        block = max(channels * problem.taps, 1)
        runs = WordRuns.of(weight, columns.words)
        counted = CountedRows.pack(
            runs, bounds, columns=block, width=tiles.width, whole=True, step=step_of(isa), early=isa.short_queue
        )
        return cls(kernel, columns, bounds, counted, shared)

    def cycles(self, weight: Blocked) -> float:
        """Estimated cycles: gathering, a broadcast and multiply-adds per nonzero, and what each visit to a block costs."""
        vectors, tiles = self.problem.batch * self.tiles.split.total, self.problem.batch * self.tiles.count
        repeats = 1 if self.shared else self.groups // self.problem.groups
        near = 4 * self.problem.channels * self.columns.channel <= L2_BYTES
        gathered = (GATHER if near else FAR_GATHER) * self.problem.groups * self.problem.reduction * vectors * repeats
        visits = weight.rows * self.counted.blocks
        return gathered + weight.blocks * (0.52 * vectors + 0.65 * tiles) + visits * (6 * tiles + 1.5 * vectors)

    @property
    def problem(self) -> ConvProblem:
        return self.columns.problem

    @property
    def tiles(self) -> PixelTiles:
        return self.columns.tiles

    @property
    def words(self) -> Words:
        return self.columns.words

    @property
    def groups(self) -> int:
        """Groups of filters."""
        return len(self.bounds) - 1

    @property
    def longest(self) -> int:
        """Filters of the longest group."""
        return int(np.diff(self.bounds).max())

    def lower(self, module: ir.Module, epilogue: Epilogue, isa: Isa, *, products: int) -> LoweredLayer:
        """Add the kernel, and the copies of x that it needs."""
        problem, elements = self.problem, self.problem.batch * self.problem.filters * self.problem.pixels
        spec = {
            **({"columns": (self.words.dtype, self._gathered)} if self.shared else self.columns.spec),
            **self.counted.spec,
            "rows": ("i32", len(self.bounds)),
            **epilogue_buffers(epilogue, elements, problem.filters),
            "y": (epilogue.result, elements),
        }
        weights = {**self.columns.weights, **self.counted.arrays, "rows": self.bounds.astype(np.int32)}
        units = problem.batch * self.tiles.count * self.groups
        calls = [Call(self._define(module, spec, epilogue, isa), tuple(spec), units, products)]
        scratch = {}
        if self.shared:
            calls.insert(0, self._gather(module, isa))
            scratch["columns"] = (self.words.dtype, self._gathered)
        if self.columns.window is not None:
            calls.insert(0, emit_window(module, self.columns.window, isa))
            scratch["window"] = (self.words.dtype, self.columns.window.elements)
        return LoweredLayer(tuple(calls), weights, scratch)

    @property
    def _gathered(self) -> int:
        """Elements of all columns: [images][groups][tiles][columns of a filter][width]."""
        return self.problem.batch * self.problem.groups * self.tiles.count * self.problem.reduction * self.tiles.width

    def _gather(self, module: ir.Module, isa: Isa) -> Call:
        """Add the function that gathers all columns; a unit is one block of columns of a tile."""
        problem, tiles, counted = self.problem, self.tiles, self.counted
        units = problem.batch * problem.groups * tiles.count * counted.blocks
        spec = {**self.columns.spec, "columns": (self.words.dtype, self._gathered)}
        name = self._name(f"{problem.arithmetic.name}_gather", spec, isa)

        def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            with loop(begin, end) as unit:
                block, number = unit % counted.blocks, unit // counted.blocks
                at = (number * problem.reduction + block * counted.columns) * tiles.width
                tile, matrix = number % tiles.count, number // tiles.count

                def copy(count: int) -> None:
                    places = tiles.places(tile, count)
                    self.columns.gather(buffers, buffers["columns"], at, matrix, places, self._channels(block))

                tiles.split.each_length(tile, copy)

        define(module, name, spec, body)
        return Call(name, tuple(spec), units, self._gathered // 4)

    def _channels(self, block: Index) -> tuple[Index, Index]:
        """The channels [first, behind) of a block of columns."""
        channels = self.counted.columns // max(self.problem.taps, 1)
        return block * channels, minimum((block + 1) * channels, self.columns.inside)

    def _name(self, start: str, spec: Mapping[str, tuple[str, int]], isa: Isa, tag: str = "") -> str:
        shape = f"{self.problem}{self.tiles}{self.longest}{self.counted.tag}{self.shared}{spec}{tag}"
        return f"{start}_{self.tiles.width}_{hashlib.sha256(shape.encode()).hexdigest()[:8]}_{isa.suffix}"

    def _define(self, module: ir.Module, spec: Mapping[str, tuple[str, int]], epilogue: Epilogue, isa: Isa) -> str:
        """Add the kernel; a unit is one group of filters of a tile of pixels."""
        name = self._name(self.kernel, spec, isa, epilogue.tag)

        def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            sums = local(self.words.arithmetic.total, self.longest * self.tiles.width)
            near = local(self.words.dtype, 1 if self.shared else self.counted.columns * self.tiles.width)
            with loop(begin, end) as unit:
                group, number = unit % self.groups, unit // self.groups
                tile, image = number % self.tiles.count, number // self.tiles.count
                self.tiles.split.each_length(
                    tile, lambda count: self._tile(buffers, epilogue, (sums, near), image, tile, group, count)
                )

        define(module, name, spec, body)
        return name

    def _tile(
        self,
        buffers: Mapping[str, Buffer],
        epilogue: Epilogue,
        memory: tuple[Buffer, Buffer],
        image: Index,
        tile: Index,
        group: Index,
        count: int,
    ) -> None:
        """One group of filters of a tile of `count` vectors."""
        problem, tiles, (sums, near) = self.problem, self.tiles, memory
        matrix = image * problem.groups + group // (self.groups // problem.groups)
        places = tiles.places(tile, count)
        held = Held(sums, Vectors(tiles.lanes, sums.dtype), 1, count, tiles.width)
        first = buffers["rows"].load_index(group)
        filters = image * problem.filters + first

        def load(block: Index) -> Index:
            if self.shared:
                return (matrix * tiles.count + tile) * (problem.reduction * tiles.width) + block * (
                    self.counted.columns * tiles.width
                )
            self.columns.gather(buffers, near, Index(0), matrix, places, self._channels(block))
            return Index(0)

        def store(row: Index, totals: list[ir.Value]) -> None:
            for value, place in zip(totals, places, strict=True):
                at = (filters + row) * problem.pixels + place
                total = finish(held.vectors, epilogue, buffers, value, element=at, channel=first + row)
                held.vectors.store(total, buffers["y"], at)

        source, later = buffers["columns"] if self.shared else near, is_long(epilogue)
        walked = RowTile(held, source, Index(0), group, self.words)
        self.counted.emit_whole(buffers, walked, load, None if later else store)
        if later:
            with loop(0, buffers["rows"].load_index(group + 1) - first) as row, loop(0, count) as number:
                place = minimum((tiles.split.start(tile) + number) * tiles.lanes, problem.pixels - tiles.lanes)
                total = held.vectors.load(sums, row * tiles.width + number * tiles.lanes)
                at = (filters + row) * problem.pixels + place
                value = finish(held.vectors, epilogue, buffers, total, element=at, channel=first + row)
                held.vectors.store(value, buffers["y"], at)


def _cuts(counts: NDArray[np.int32], first: int, rows: int, parts: int) -> NDArray[np.int64]:
    """The first rows of `parts` runs of about equal work, of the `rows` rows from `first` on."""
    total = np.cumsum(counts[first : first + rows] + ROW_COST)
    cuts = first + np.searchsorted(total, np.arange(parts) / parts * total[-1])
    least = first + np.arange(parts)
    bounded: NDArray[np.int64] = np.minimum(np.maximum(cuts, least), least + rows - parts).astype(np.int64)
    return bounded
