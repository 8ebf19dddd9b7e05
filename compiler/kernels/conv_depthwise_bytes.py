"""Depthwise convolution of bytes: the bytes that four neighbouring taps of a vector of pixels read are picked from one load.

One permutation of 64 bytes makes the words of 16 pixels, for taps beside each other in a row of the kernel; padding is what
the load's mask leaves out. Pixels of the rows below use the same words. Neither a copy of the input nor one with padding
is needed (Fog, "Optimizing subroutines in assembly language", section 13, on permutations with constant indices).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import vector

from sparsec.formats.coo import as_dense
from sparsec.kernels.arithmetic import U8S8
from sparsec.kernels.emit import Buffer, Vectors, define, epilogue_buffers, finish, loop, shuffle
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.problem import Axis, ConvProblem, Problem
from sparsec.kernels.words import Words, refusal, words_of

GROUP, LANES, WINDOW = 4, 16, 64  # taps of a word, pixels of a vector, bytes of a load
NO_BYTE = WINDOW - 1  # a lane of a load that its mask always leaves out
MOST_WRITTEN = 16  # vectors of pixels that are written out, of a row or of a small plane
TOGETHER = 4  # rows of pixels that share words, if they have few vectors


@dataclass(frozen=True, slots=True)
class ConvDepthwiseBytes:
    """Two spatial axes, as many groups as channels, any number of filters per channel; of at least 16 pixels."""

    name: str = "u8s8_conv_depthwise_bytes"
    format: str = "dense"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if not isinstance(problem, ConvProblem) or problem.groups != problem.channels or len(problem.axes) != len("yx"):
            return "only convolutions of planes with as many groups as channels"
        if (other := refusal(problem.arithmetic, U8S8, isa)) is not None:
            return other
        words = words_of(U8S8, isa)
        if words is None or words.group != GROUP or words.shift or not isa.expands_bytes or isa.lanes() != LANES:
            return f"{isa.suffix} does not permute 64 bytes"
        if problem.pixels < LANES:
            return f"fewer than {LANES} pixels"
        plane = _Plane(problem, words)
        if len(plane.vectors) > MOST_WRITTEN:
            return f"rows of more than {MOST_WRITTEN} vectors, or too many short ones"
        if any(plane.reach(pixels, 0, word) >= NO_BYTE for pixels in plane.vectors for word in range(plane.across)):
            return "what a vector of pixels reads is too far apart"
        return None

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, ConvProblem)
        assert weight is not None
        words = words_of(U8S8, isa)
        assert words is not None
        down, across = (axis.kernel for axis in problem.axes)
        taps = words.encode(np.asarray(as_dense(weight)).reshape(problem.filters, down, across)).reshape(-1)
        elements = problem.batch * problem.filters * problem.pixels
        size = math.prod(axis.size for axis in problem.axes)
        spec = {
            "x": ("i8", problem.batch * problem.channels * size),
            "taps": ("i32", len(taps)),
            "y": (epilogue.result, elements),
            **epilogue_buffers(epilogue, elements, problem.filters),
        }
        digest = hashlib.sha256(f"{problem}{epilogue.tag}".encode()).hexdigest()[:8]
        name = f"{self.name}_{digest}_{isa.suffix}"
        plane = _Plane(problem, words)

        def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            with loop(begin, end) as unit:
                per_channel = problem.filters // problem.channels
                channel, image = unit % problem.channels, unit // problem.channels
                with loop(0, per_channel) as which:
                    row = channel * per_channel + which
                    element = (image * problem.filters + row) * problem.pixels
                    _Filter(plane, epilogue, memory, unit * size, row, element).emit()

        define(module, name, spec, body)
        units = problem.batch * problem.channels
        return LoweredLayer((Call(name, tuple(spec), units, elements * problem.taps),), {"taps": taps})


Pixels = tuple[tuple[int, int], ...]  # (row, column) of each lane


@dataclass(frozen=True, slots=True)
class _Plane:
    """How pixels become vectors: those of one row, or of a whole plane whose rows are short."""

    problem: ConvProblem
    words: Words

    @property
    def axes(self) -> tuple[Axis, Axis]:
        down, across = self.problem.axes
        return down, across

    @property
    def across(self) -> int:
        """Words of a row of the kernel."""
        return self.words.count(self.axes[1].kernel)

    @property
    def by_rows(self) -> bool:
        return self.axes[1].out >= LANES

    @property
    def vectors(self) -> list[Pixels]:
        """The pixels of each vector, of row 0 or of the plane; the last ones overlap."""
        width = self.axes[1].out
        total = width if self.by_rows else self.problem.pixels
        starts = [min(start, total - LANES) for start in range(0, total, LANES)]
        return [tuple(divmod(start + lane, width) for lane in range(LANES)) for start in starts]

    def source(self, pixel: tuple[int, int], down: int, tap: int) -> tuple[int, int] | None:
        """The sample (row, column) that a pixel reads through a tap of the kernel; None is padding across."""
        rows, columns = self.axes
        row = pixel[0] * rows.stride + down * rows.dilation - rows.before
        column = pixel[1] * columns.stride + tap * columns.dilation - columns.before
        return (row, column) if 0 <= column < columns.size else None

    def places(self, pixels: Pixels, down: int, word: int) -> list[int | None]:
        """The bytes that the lanes of a word read, from the plane's first; None is padding. Rows beyond the plane are
        padding where rows are not counted at run time.
        """
        rows, columns = self.axes
        found: list[int | None] = []
        for pixel in pixels:
            for part in range(GROUP):
                tap = word * GROUP + part
                place = self.source(pixel, down, tap) if tap < columns.kernel else None
                inside = place is not None and (self.by_rows or 0 <= place[0] < rows.size)
                found.append(place[0] * columns.size + place[1] if place is not None and inside else None)
        return found

    def reach(self, pixels: Pixels, down: int, word: int) -> int:
        """Bytes from the first to the last that a word of a vector reads, whatever its row in the kernel."""
        if self.by_rows:
            return _span(self.places(pixels, down, word))
        return max(_span(self.places(pixels, each, word)) for each in range(self.axes[0].kernel))


def _span(places: Sequence[int | None]) -> int:
    known = [place for place in places if place is not None]
    return max(known) - min(known) + 1 if known else 0


@dataclass(frozen=True, slots=True)
class _Filter:
    """All pixels of one filter: its plane of x begins at `source`, its output at `element`."""

    plane: _Plane
    epilogue: Epilogue
    memory: Mapping[str, Buffer]
    source: Index
    row: Index
    element: Index

    def emit(self) -> None:
        """Build the pixels, row by row or all at once."""
        rows = self.plane.axes[0]
        vectors = Vectors(LANES, "i32")
        count = rows.kernel * self.plane.across
        taps = [vectors.load_splat(self.memory["taps"], self.row * count + number) for number in range(count)]
        if not self.plane.by_rows:
            for pixels in self.plane.vectors:
                self._rows(taps, [pixels], Index(0), range(1), set())
            return
        first = min(-(-rows.before // rows.stride), rows.out)
        reach = rows.size - 1 - (rows.kernel - 1) * rows.dilation + rows.before
        behind = max(reach // rows.stride + 1 if reach >= 0 else 0, first)
        inside = min(behind, rows.out) - first
        together = min(TOGETHER if len(self.plane.vectors) <= TOGETHER else 2, max(inside, 1))
        for number in [*range(first), *range(first + inside, rows.out)]:
            sampled = (number * rows.stride + down * rows.dilation - rows.before for down in range(rows.kernel))
            outside = {down for down, sample in enumerate(sampled) if not 0 <= sample < rows.size}
            self._rows(taps, self.plane.vectors, Index(number), range(1), outside)
        if inside:
            with loop(0, -(-inside // together)) as part:
                start = minimum(part * together, inside - together) + first
                self._rows(taps, self.plane.vectors, start, range(together), set())

    def _rows(
        self, taps: Sequence[ir.Value], vectors: Sequence[Pixels], first: Index, rows: range, outside: set[int]
    ) -> None:
        """The vectors of the rows first + each of `rows`; the rows `outside` of the kernel read padding only."""
        down, across = self.plane.axes
        sums = Vectors(LANES, "i32")
        for pixels in vectors:
            made: dict[tuple[int, int], ir.Value] = {}
            for number in rows:
                total = sums.splat(0)
                for tap in range(down.kernel):
                    for word in range(self.plane.across):
                        key = number * down.stride + tap * down.dilation, word
                        if tap in outside:
                            value = sums.splat(_padding(self.plane.problem.pad_value))
                        elif key in made:
                            value = made[key]
                        else:
                            row = first * down.stride + number * down.stride
                            value = made[key] = self._word(pixels, tap, word, row * across.size)
                        weight = taps[tap * self.plane.across + word]
                        total = self.plane.words.multiply_add(value, weight, total)
                pixel = pixels[0][0] * across.out + pixels[0][1]
                at = self.element + (first + number) * across.out + pixel
                tail = finish(sums, self.epilogue, self.memory, total, element=at, channel=self.row)
                sums.store(tail, self.memory["y"], at)

    def _word(self, pixels: Pixels, down: int, word: int, offset: Index) -> ir.Value:
        """The words of a vector of pixels, `offset` bytes further down in the plane."""
        places = self.plane.places(pixels, down, word)
        known = [place for place in places if place is not None]
        words = Vectors(LANES, "i32")
        if not known:
            return words.splat(_padding(self.plane.problem.pad_value))
        lowest = min(known)
        narrow = Vectors(WINDOW, "i8")
        at = self.source + offset + lowest if lowest >= 0 else self.source + offset - -lowest
        read = narrow.load(self.memory["x"], at, narrow.mask(max(known) - lowest + 1), self.plane.problem.pad_value)
        picks = [NO_BYTE if place is None else place - lowest for place in places]
        return vector.bitcast(words.type, shuffle(read, read, picks))


def _padding(value: int) -> int:
    return sum(value << place for place in range(0, 32, 8))
