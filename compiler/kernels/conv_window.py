"""The input of a dense convolution, copied so that the convolution becomes a matrix product over pixels.

Every tap must read its sample for output pixel p at `p + constant`, with pixels numbered without gaps, as y stores
them. So the copy has one plane per tap of the inner axes (each inner axis then has exactly the output's length), and
one per stride phase of the outermost axis, along which taps are shifts by whole rows. A 3x3 convolution copies each
channel three times; nothing is computed for padding, and results are stored as they come. (im2col along the inner axes only, as
in Cho & Brand, "MEC: Memory-efficient Convolution", ICML 2017.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.kernels.emit import Buffer, Vectors, choose, define, either, loop, shuffle
from sparsec.kernels.index import Index, IndexLike
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call
from sparsec.kernels.pack_words import source_of
from sparsec.kernels.problem import Axis, ConvProblem
from sparsec.kernels.store import transposed
from sparsec.kernels.tile import PAGE

SKEW = 16


@dataclass(frozen=True, slots=True)
class Line:
    """One axis of the copy: each plane takes `extent` samples, plane j the input samples `stride * i + firsts[j] -
    before`.

    Tap t reads plane `planes[t]` at element `i + shifts[t]` for output i.
    """

    axis: Axis
    extent: int
    firsts: tuple[int, ...]
    planes: tuple[int, ...]
    shifts: tuple[int, ...]

    @classmethod
    def outer(cls, axis: Axis) -> Line:
        """One plane per stride phase that a tap reads."""
        shifts, phases = zip(*(divmod(tap * axis.dilation, axis.stride) for tap in range(axis.kernel)), strict=True)
        firsts = tuple(sorted(set(phases)))
        return cls(axis, axis.out + max(shifts), firsts, tuple(map(firsts.index, phases)), shifts)

    @classmethod
    def inner(cls, axis: Axis) -> Line:
        """One plane per tap."""
        taps = range(axis.kernel)
        return cls(axis, axis.out, tuple(tap * axis.dilation for tap in taps), tuple(taps), (0,) * axis.kernel)

    def valid(self, first: int) -> tuple[int, int]:
        """The elements [low, high) of the plane that starts at `first` that are input samples, not padding."""
        low, high = (
            min(max(-(-(edge - first) // self.axis.stride), 0), self.extent)
            for edge in (self.axis.before, self.axis.before + self.axis.size)
        )
        return low, high


@dataclass(frozen=True, slots=True)
class Window:
    """The copy of one convolution: [batch][channels][planes][extents] words."""

    problem: ConvProblem
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, problem: ConvProblem) -> Window:
        first, *rest = problem.axes
        return cls(problem, (Line.outer(first), *map(Line.inner, rest)))

    @property
    def plane(self) -> int:
        """Elements of one plane."""
        return math.prod(line.extent for line in self.lines)

    @property
    def planes(self) -> int:
        """Planes of one channel."""
        return math.prod(len(line.firsts) for line in self.lines)

    @property
    def channel(self) -> int:
        """Elements from one channel to the next; no multiple of a page, or all channels would share one cache set."""
        size = self.plane * self.planes
        return size if size % PAGE else size + SKEW

    @property
    def patches(self) -> bool:
        """True if windows stand side by side along the last axis, so that all its planes are one transposition of x.

        Worth it where a window is at least half a vector wide.
        """
        line = self.lines[-1]
        beside = line.axis.dilation == 1 and 8 <= line.axis.kernel <= line.axis.stride
        return len(self.lines) > 1 and beside and all(line.valid(first) == (0, line.extent) for first in line.firsts)

    @property
    def elements(self) -> int:
        """Elements of the whole copy."""
        return self.problem.batch * self.problem.channels * self.channel

    def offsets(self) -> NDArray[np.int32]:
        """Where output pixel 0 finds its sample, for each weight of a filter: [channels of a group * taps]."""
        counts = [len(line.firsts) for line in self.lines]
        row = math.prod(line.extent for line in self.lines[1:])
        taps = [
            int(np.ravel_multi_index([line.planes[t] for line, t in zip(self.lines, tap, strict=True)], counts))
            * self.plane
            + self.lines[0].shifts[tap[0]] * row
            for tap in np.ndindex(*(axis.kernel for axis in self.problem.axes))
        ]
        inside = self.problem.channels // self.problem.groups
        offsets: NDArray[np.int64] = np.arange(inside)[:, None] * self.channel + np.array(taps)
        return offsets.astype(np.int32).reshape(-1)

    def table(self) -> NDArray[np.int32]:
        """What the copy reads per plane: `firsts` of each axis, then the valid range of the last axis."""
        rows = [
            [*firsts, *self.lines[-1].valid(firsts[-1])]
            for plane in np.ndindex(*(len(line.firsts) for line in self.lines))
            for firsts in [[line.firsts[j] for line, j in zip(self.lines, plane, strict=True)]]
        ]
        return np.array(rows, dtype=np.int32).reshape(-1)


def emit_window(module: ir.Module, window: Window, isa: Isa) -> Call:
    """Add the function that copies the words of x to "window"; a unit is one channel of one image."""
    problem = window.problem
    name_of_x, words = source_of(problem, isa)
    padding = words.padding(problem.pad_value)
    sizes = [axis.size for axis in problem.axes]
    units = problem.batch * problem.channels
    table = window.table()
    buffers = {
        name_of_x: (words.dtype, units * math.prod(sizes)),
        "planes": ("i32", table.size),
        "window": (words.dtype, window.elements),
    }
    axes = "_".join(f"{a.size}k{a.kernel}s{a.stride}d{a.dilation}p{a.before}p{a.after}" for a in problem.axes)
    name = f"{words.arithmetic.name}_window{problem.pad_value}_{words.element}_{units}x{axes}_{isa.suffix}"
    columns = len(sizes) + 2

    def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        together = len(window.lines[-1].firsts) if window.patches else 1
        with loop(begin, end) as unit, loop(0, window.planes, together) as plane:
            *firsts, low, high = (memory["planes"].load_index(plane * columns + i) for i in range(columns))
            source = unit * math.prod(sizes)
            target = unit * window.channel + plane * window.plane
            run = Run.of(window, low, high, isa, words.dtype, padding)
            _copy_axis(window, firsts, run, memory[name_of_x], source, memory["window"], target)

    define(module, name, buffers, body)
    return Call(name, tuple(buffers), units, units * window.channel // 4)


def _copy_axis(
    window: Window, firsts: Sequence[Index], run: Run, x: Buffer, source: Index, target: Buffer, at: Index
) -> None:
    """Copy what is below the outermost of the axes that `firsts` has, a suffix of all: a loop per axis, then `run`."""
    number = len(window.lines) - len(firsts)
    line, (first, *further) = window.lines[number], firsts
    if not further:
        if window.patches:
            _copy_patches(window, run.vectors, x, source, target, at)
            return
        # The position of the first sample may lie before the buffer; masks leave such lanes out.
        run.copy(x, source + first - line.axis.before, target, at)
        return
    below = math.prod(axis.size for axis in window.problem.axes[number + 1 :])
    pitch = math.prod(inner.extent for inner in window.lines[number + 1 :])
    with loop(0, line.extent) as i:
        sample = i * line.axis.stride + first - line.axis.before  # wraps round to a huge number before the first one
        choose(
            sample < line.axis.size,
            lambda: _copy_axis(window, further, run, x, source + sample * below, target, at + i * pitch),
            lambda: _fill(run, target, at + i * pitch, pitch),
        )


def _copy_patches(window: Window, vectors: Vectors, x: Buffer, source: Index, target: Buffer, at: Index) -> None:
    """Copy one row, [extent][stride] samples from x[source], to its place in each plane of the last axis."""
    line, lanes = window.lines[-1], vectors.lanes

    def block(i: IndexLike, height: int) -> None:
        """Turn `height` windows from number `i` on."""
        for tap in range(0, line.axis.kernel, lanes):
            inside = vectors.mask(line.axis.kernel - tap)
            starts = [source + (i + Index(min(r, height - 1))) * line.axis.stride + tap for r in range(lanes)]
            lines = transposed([vectors.load(x, start, inside) for start in starts])
            for number, value in enumerate(lines[: line.axis.kernel - tap], start=tap):
                vectors.store(value, target, at + number * window.plane + i, vectors.mask(height))

    whole = line.extent // lanes * lanes
    if whole:
        with loop(0, whole, lanes) as i:
            block(i, lanes)
    if line.extent > whole:
        block(whole, line.extent - whole)


def _fill(run: Run, target: Buffer, at: Index, count: int) -> None:
    """Store `count` elements of padding."""
    vectors = run.vectors
    whole = count // vectors.lanes * vectors.lanes
    if whole:
        with loop(0, whole, vectors.lanes) as i:
            vectors.store(vectors.splat(run.padding), target, at + i)
    if count > whole:
        vectors.store(vectors.splat(run.padding), target, at + whole, vectors.mask(count - whole))


@dataclass(frozen=True, slots=True)
class Edge:
    """A vector at an end of a run: masks of the samples in it (stride 2 takes two loads) and of what is stored."""

    inside: tuple[ir.Value, ...]
    outside: ir.Value | None


@dataclass(frozen=True, slots=True)
class Run:
    """Copying the innermost axis: element i is sample i * stride for i in [low, high), and padding for the other i < extent.

    The masks are computed once for all rows. If `plain`, only the first and the last vector hold padding in any plane.
    """

    vectors: Vectors
    line: Line
    low: Index
    high: Index
    plain: bool
    padding: int
    edges: tuple[Edge, ...]

    @classmethod
    def of(cls, window: Window, low: Index, high: Index, isa: Isa, dtype: str, padding: int) -> Run:
        line = window.lines[-1]
        vectors = Vectors(min(isa.lanes(), 1 << (line.extent - 1).bit_length()), dtype)
        last = (line.extent - 1) // vectors.lanes * vectors.lanes
        bounds = [line.valid(first) for first in line.firsts]
        plain = all(low <= vectors.lanes and high > last for low, high in bounds)
        run = cls(vectors, line, low, high, plain or not last, padding, ())
        return replace(run, edges=tuple(run.edge(Index(at)) for at in sorted({0, last}))) if run.plain else run

    def edge(self, i: Index) -> Edge:
        """The masks of the vector that begins at element `i`."""
        lanes, stride = self.vectors.lanes, self.line.axis.stride
        first, end = self.low - i, self.high - i  # negative if before the vector
        if stride == 2:
            first, end = first * 2, end * 2 - 1
        inside = tuple(
            either(self.vectors.mask_signed(end - at), self.vectors.mask_signed(first - at))
            for at in range(0, lanes * (1 + (stride == 2)), lanes)
        )
        return Edge(inside, self.vectors.mask(self.line.extent - i) if self.line.extent % lanes else None)

    def copy(self, x: Buffer, start: Index, target: Buffer, at: Index) -> None:
        """Copy one row whose sample 0 is x[start]."""
        lanes, last = self.vectors.lanes, (self.line.extent - 1) // self.vectors.lanes * self.vectors.lanes
        if not self.plain:
            with loop(0, self.line.extent, lanes) as i:
                self._move(x, start, target, at, i, self.edge(i))
            return
        for first, edge in zip((0, last), self.edges, strict=False):
            self._move(x, start, target, at, Index(first), edge)
        if last > lanes:
            with loop(lanes, last, lanes) as middle:
                self._move(x, start, target, at, middle, None)

    def _move(self, x: Buffer, start: Index, target: Buffer, at: Index, i: Index, edge: Edge | None) -> None:
        """Copy one vector; without an edge all its elements are samples."""
        vectors, lanes, stride = self.vectors, self.vectors.lanes, self.line.axis.stride
        inside: Sequence[ir.Value | None] = (None, None) if edge is None else edge.inside
        match stride:
            case 1:
                value = vectors.load(x, start + i, inside[0], self.padding)
            case 2:
                low = vectors.load(x, start + i * 2, inside[0], self.padding)
                high = vectors.load(x, start + i * 2 + lanes, inside[1], self.padding)
                value = shuffle(low, high, range(0, 2 * lanes, 2))
            case _:
                value = vectors.gather(x, start + i * stride, stride, inside[0], self.padding)
        vectors.store(value, target, at + i, None if edge is None else edge.outside)
