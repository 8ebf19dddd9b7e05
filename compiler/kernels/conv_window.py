"""The input of a dense convolution, copied so that the convolution becomes a matrix product over pixels.

Every tap must read its sample for output pixel p at `p + constant`, with pixels numbered without gaps, as y stores them. So the copy
has one plane per tap of the inner axes (each inner axis then has exactly the output's length), and one per stride phase of the
outermost axis, along which taps are shifts by whole rows. A 3x3 convolution copies each channel three times; nothing is computed
for padding, and results are stored as they come.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.kernels.emit import (
    Buffer,
    Index,
    Vectors,
    as_index,
    both,
    define,
    either,
    loop,
    pick,
    shuffle,
)
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call
from sparsec.kernels.problem import Axis, ConvProblem


@dataclass(frozen=True, slots=True)
class Line:
    """One axis of the copy: each plane takes `extent` samples, plane j the input samples `stride * i + firsts[j] - before`.

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
    """The copy of one convolution: [batch][channels][planes][extents] float32."""

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
        """Elements of one channel."""
        return self.plane * self.planes

    @property
    def elements(self) -> int:
        """Elements of the whole copy."""
        return self.problem.batch * self.problem.channels * self.channel

    def offsets(self) -> NDArray[np.int32]:
        """Where output pixel 0 finds its sample, for each (channel of a group, tap) in the order of a filter's weights."""
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
    """Add the function that copies "x" to "window"; a unit is one channel of one image."""
    problem = window.problem
    sizes = [axis.size for axis in problem.axes]
    units = problem.batch * problem.channels
    table = window.table()
    buffers = {
        "x": ("f32", units * math.prod(sizes)),
        "planes": ("i32", table.size),
        "window": ("f32", window.elements),
    }
    axes = "_".join(f"{a.size}k{a.kernel}s{a.stride}d{a.dilation}p{a.before}p{a.after}" for a in problem.axes)
    name = f"f32_window_{units}x{axes}_{isa.suffix}"
    columns = len(sizes) + 2

    def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        with loop(begin, end) as unit, loop(0, window.planes) as plane:
            entry = [memory["planes"].load_index(plane * columns + i) for i in range(columns)]
            source = unit * math.prod(sizes)
            target = unit * window.channel + plane * window.plane
            _copy_axis(window, 0, entry, memory, source, target, None, isa)

    define(module, name, buffers, body)
    return Call(name, tuple(buffers), units, units * window.channel // 4)


def _copy_axis(
    window: Window,
    number: int,
    entry: list[Index],
    memory: Mapping[str, Buffer],
    source: Index,
    target: Index,
    inside: ir.Value | None,
    isa: Isa,
) -> None:
    """Copy what is below axis `number`; `inside` says that the outer axes are at a sample, not at padding."""
    line, first = window.lines[number], entry[number]
    if number == len(window.lines) - 1:
        low, high = entry[-2:]
        if inside is not None:
            low, high = pick(inside, low, 0), pick(inside, high, 0)
        # The position of the first sample may lie before the buffer; the mask leaves such lanes out.
        start = source + first - line.axis.before
        _copy_run(memory["x"], start, line, low, high, memory["window"], target, isa)
        return
    below = math.prod(axis.size for axis in window.problem.axes[number + 1 :])
    pitch = math.prod(further.extent for further in window.lines[number + 1 :])
    with loop(0, line.extent) as i:
        sample = i * line.axis.stride + first - line.axis.before  # wraps round to a huge number before the first one
        here = sample < line.axis.size
        both_inside = here if inside is None else both(here, inside)
        _copy_axis(window, number + 1, entry, memory, source + sample * below, target + i * pitch, both_inside, isa)


def _copy_run(
    x: Buffer, start: Index, line: Line, low: Index, high: Index, target: Buffer, at: Index, isa: Isa
) -> None:
    """Store x[start + stride * i] for i in [low, high), and 0 for the other i < extent."""
    vectors = Vectors(min(isa.lanes(), 1 << (line.extent - 1).bit_length()))
    lanes, stride = vectors.lanes, line.axis.stride

    def block(i: Index) -> None:
        if stride == 2:
            halves = []
            for half in range(2):
                reached = (high - i) * 2 - 1 - half * lanes
                inside = either(vectors.mask_signed(reached), vectors.mask_signed((low - i) * 2 - half * lanes))
                halves.append(vectors.load(x, start + i * 2 + half * lanes, inside))
            value = shuffle(halves[0], halves[1], range(0, 2 * lanes, 2))
        else:
            inside = either(vectors.mask_signed(high - i), vectors.mask_signed(low - i))
            value = (
                vectors.load(x, start + i, inside)
                if stride == 1
                else vectors.gather(x, start + i * stride, stride, inside)
            )
        outside = vectors.mask(line.extent - i) if line.extent % lanes else None
        vectors.store(value, target, at + i, outside)

    if line.extent <= lanes:
        block(as_index(0))
    else:
        with loop(0, line.extent, lanes) as i:
            block(i)
