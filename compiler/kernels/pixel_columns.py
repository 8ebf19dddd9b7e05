"""Columns of a convolution, one per channel and tap: what each pixel of a tile reads there, copied to rows of vectors."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.kernels.conv_window import Window
from sparsec.kernels.emit import Buffer, Vectors, differs, loop
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.pack_words import source_of
from sparsec.kernels.problem import ConvProblem
from sparsec.kernels.split import Split
from sparsec.kernels.words import Words

ABREAST = 16  # elements that are stored together: of bytes, vectors of 128 bits
TILE_PIXELS = 64  # wider tiles mean fewer columns in a block, and so shorter visits


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
        lanes = isa.lanes_for(pixels)
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

    def each(self, tile: Index, count: int, body: Callable[[Index, Index, int], None]) -> None:
        """Build `body(number, pixel, lanes)` for the vectors of a tile of so many: a vector's number and first pixel.

        Neighbouring ones are one vector of up to ABREAST elements.
        """
        start, together = self.split.start(tile), max(1, ABREAST // self.lanes)
        whole = (count - bool(self.pixels % self.lanes)) // together * together  # the last may begin in the one before
        with loop(0, whole, together) as number:
            body(number, (start + number) * self.lanes, together * self.lanes)
        with loop(whole, count) as number:
            body(number, minimum((start + number) * self.lanes, self._last), self.lanes)

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
