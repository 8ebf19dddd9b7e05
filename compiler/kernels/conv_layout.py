"""Where a convolution's input lies so that every tap is one constant offset, and how output pixels are cut into tiles.

The input is copied, channel by channel, to planes in which the padding is real and samples are sorted by stride
phase: sample `s * i + q` of an axis of stride `s` is element `i` of phase `q`. Output pixel (oy, ox) then has the
*position* `oy * pitch + ox`, and a tap reads element `position + constant`. The zeros after one row are the zeros
before the next one, so little is wasted. (Zeros stand for
`ConvProblem.pad_value`.) A convolution that reads each pixel at its own place needs no copy: there a
position is the pixel's number in x itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.kernels.emit import Buffer, Vectors, define, loop, shuffle, when
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call
from sparsec.kernels.pack_words import source_of
from sparsec.kernels.problem import Axis, ConvProblem

CLASH = 512  # elements; channels a multiple of this apart share a few sets of the level-1 cache
PADDED = "padded"  # the buffer of the copy
APART = 16  # elements between such channels: a cache line
BYTES = 16  # of the smallest vector: so many bytes become floats at a time
UNROLLED = 16  # copies of a row that are written out; longer rows get a loop
TOGETHER = 4  # copies in the body of such a loop


@dataclass(frozen=True, slots=True)
class Phase:
    """Samples `first + stride * j`, j < count, are elements `lead + j` of phase `number`; all others are zero."""

    number: int
    lead: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Line:
    """One axis: `extent` elements of each phase are read; rows follow each other after `period` <= extent."""

    phases: tuple[Phase, ...]
    extent: int
    period: int

    @classmethod
    def of(cls, axis: Axis) -> Line:
        """The line of an axis: only phases that some tap reads, sharing zeros with its neighbours."""
        extent = axis.out + axis.dilation * (axis.kernel - 1) // axis.stride
        numbers = sorted({tap * axis.dilation % axis.stride for tap in range(axis.kernel)})
        phases = tuple(_phase(axis, number, extent) for number in numbers)
        shared = min(phase.lead for phase in phases)
        used = max((phase.lead + phase.count for phase in phases if phase.count), default=0)
        return cls(phases, extent, max(extent - shared, used, axis.out))


def _phase(axis: Axis, number: int, extent: int) -> Phase:
    lead = max(0, -(-(axis.before - number) // axis.stride))
    behind = min(extent, (axis.before + axis.size - 1 - number) // axis.stride + 1)
    if behind <= lead:
        return Phase(number, extent, 0, 0)
    return Phase(number, lead, axis.stride * lead + number - axis.before, behind - lead)


@dataclass(frozen=True, slots=True)
class PaddedLayout:
    """The planes of one convolution: [batch][channels][phases][rows][pitch] elements, or x itself if not `copied`.

    Channels begin at multiples of `alignment` elements.
    """

    problem: ConvProblem
    lines: tuple[Line, ...]
    copied: bool
    slack: int
    alignment: int = 1

    @classmethod
    def of(cls, problem: ConvProblem, isa: Isa, *, aligned: bool = False) -> PaddedLayout:
        """The layout.

        `aligned` copies also an input that could be read in place, if that makes its vectors aligned or moves its
        channels to different sets of the cache.
        """
        lines = tuple(Line.of(axis) for axis in problem.axes)
        halo = sum((line.extent - line.period) * step for line, step in zip(lines, _strides(lines), strict=True))
        aligned = aligned and problem.pointwise and problem.pixels > isa.lanes()
        aligned = aligned and (problem.pixels % isa.lanes() > 0 or problem.pixels % CLASH == 0)
        copied, alignment = aligned or not problem.pointwise, isa.lanes() if aligned else 1
        return cls(problem, lines, copied, slack=halo + isa.lanes(), alignment=alignment)

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements between neighbours along each axis."""
        return _strides(self.lines)

    @property
    def plane(self) -> int:
        """Elements of one phase of one channel."""
        return math.prod(line.period for line in self.lines)

    @property
    def channel(self) -> int:
        """Elements of one channel."""
        size = _round_up(self.plane * math.prod(len(line.phases) for line in self.lines), self.alignment)
        return size + APART if self.copied and size % CLASH == 0 else size

    @property
    def image(self) -> int:
        """Elements of one image of the batch."""
        return self.channel * self.problem.channels

    @property
    def scratch_elements(self) -> int:
        """Size of the buffer "padded"; 0 if x is read in place."""
        return self.problem.batch * self.image + self.slack if self.copied else 0

    @property
    def source_elements(self) -> int:
        """Size of the buffer that taps read."""
        return self.scratch_elements or self.problem.batch * self.image

    def plane_offset(self, phases: tuple[int, ...]) -> int:
        """Where in a channel the plane of the used phases with these ordinals begins."""
        return int(np.ravel_multi_index(phases, [len(line.phases) for line in self.lines])) * self.plane

    def window_offsets(self) -> NDArray[np.int64]:
        """Element offset of each tap (row-major) from an output position, inside one channel."""
        steps = self.strides
        offsets = []
        for taps in np.ndindex(*(axis.kernel for axis in self.problem.axes)):
            shifts, ordinals = [], []
            for tap, axis, line in zip(taps, self.problem.axes, self.lines, strict=True):
                shift, number = divmod(tap * axis.dilation, axis.stride)
                shifts.append(shift)
                ordinals.append([phase.number for phase in line.phases].index(number))
            inside = sum(shift * step for shift, step in zip(shifts, steps, strict=True))
            offsets.append(self.plane_offset(tuple(ordinals)) + inside)
        return np.array(offsets, dtype=np.int64)

    def tap_offsets(self) -> NDArray[np.int64]:
        """Element offset per (channel, tap) from an output position, inside one image: [channels, taps]."""
        return np.arange(self.problem.channels)[:, None] * self.channel + self.window_offsets()[None, :]

    def pixel_axes(self) -> tuple[tuple[int, int], ...]:
        """(outputs, position stride) per axis; axes without waste between them are joined. The last stride is 1."""
        joined: list[tuple[int, int]] = []
        for axis, step in zip(self.problem.axes, self.strides, strict=True):
            if joined and joined[-1][1] == axis.out * step:
                joined[-1] = (joined[-1][0] * axis.out, step)
            else:
                joined.append((axis.out, step))
        return tuple(joined)


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _strides(lines: tuple[Line, ...]) -> tuple[int, ...]:
    return tuple(math.prod(line.period for line in lines[number + 1 :]) for number in range(len(lines)))


def emit_pack(module: ir.Module, layout: PaddedLayout, isa: Isa) -> Call:
    """Add the function that copies the words of x to "padded"; one unit is one channel of one image."""
    problem, units = layout.problem, layout.problem.batch * layout.problem.channels
    source, words = source_of(problem, isa)
    padding = words.padding(problem.pad_value)
    size = math.prod(axis.size for axis in problem.axes)
    name = f"{words.arithmetic.name}_pad{problem.pad_value}_{words.element}_{_shape_name(problem)}_{isa.suffix}"
    spec = {source: (words.dtype, units * size), PADDED: (words.dtype, layout.scratch_elements)}

    def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        x, padded = buffers[source], buffers[PADDED]
        with loop(begin, end) as unit:
            if problem.pointwise:
                copy_run(x, unit * size, 1, padded, unit * layout.channel, size, isa)
            else:
                emit_fill(padded, unit * layout.channel, layout.channel, isa, padding)
                emit_copy(layout, x, unit * size, padded, unit * layout.channel, isa)
                with when(unit.equals(units - 1)):
                    emit_fill(padded, Index(problem.batch * layout.image), layout.slack, isa, padding)

    define(module, name, spec, body)
    return Call(name, (source, PADDED), units, products=units * layout.channel // 4)


def _shape_name(problem: ConvProblem) -> str:
    axes = "_".join(f"{a.size}k{a.kernel}s{a.stride}d{a.dilation}p{a.before}p{a.after}" for a in problem.axes)
    return f"{problem.batch}x{problem.channels}x{axes}"


def emit_fill(target: Buffer, at: Index, count: int, isa: Isa, value: float = 0) -> None:
    """Store `value` to `count` elements from `at`."""
    vectors = Vectors(lanes_for(count, isa), target.dtype)
    _runs(count, vectors, lambda step: vectors.store(vectors.splat(value), target, at + step))


def emit_copy(
    layout: PaddedLayout, x: Buffer, source: Index, target: Buffer, base: Index, isa: Isa, *, spill: bool = False
) -> None:
    """Copy one channel of x, which begins at element `source`, to its planes at `base`; padding must be there already.

    With `spill`, up to a vector of padding may be written behind the last plane.
    """
    sizes = [axis.size for axis in layout.problem.axes]
    for ordinals in np.ndindex(*(len(line.phases) for line in layout.lines)):
        phases = [line.phases[ordinal] for line, ordinal in zip(layout.lines, ordinals, strict=True)]
        if all(phase.count for phase in phases):
            _copy_axes(layout, phases, 0, x, source, target, base + layout.plane_offset(ordinals), sizes, isa, spill)


def emit_copy_band(
    problem: ConvProblem,
    band: PaddedLayout,
    x: Buffer,
    source: Index,
    first: Index,
    target: Buffer,
    at: Index,
    isa: Isa,
) -> None:
    """Copy the rows that outputs from row `first` of the first axis read, and rows of padding where there are none.

    `band` is the layout of as many outputs without padding on that axis; that beside the rows must be there already.
    """
    sizes = [axis.size for axis in problem.axes]
    outer, step, behind = band.lines[0], band.strides[0], math.prod(sizes[1:])
    for phase in Line.of(problem.axes[0]).phases:
        low, high = (
            minimum(edge - minimum(first, edge), outer.extent) for edge in (phase.lead, phase.lead + phase.count)
        )
        place = [other.number for other in outer.phases].index(phase.number)
        for ordinals in np.ndindex(*(len(line.phases) for line in band.lines[1:])):
            phases = [line.phases[ordinal] for line, ordinal in zip(band.lines[1:], ordinals, strict=True)]
            base = at + band.plane_offset((place, *ordinals))
            for begin, end in ((Index(0), low), (high, Index(outer.extent))):
                with loop(begin, end) as row:
                    emit_fill(target, base + row * step, step, isa, problem.pad_value)
            if phase.count and all(other.count for other in phases):
                start = source + (first * problem.axes[0].stride + phase.number - problem.axes[0].before) * behind
                with loop(low, high) as row:
                    inner = (x, start + row * (problem.axes[0].stride * behind), target, base + row * step)
                    _copy_axes(band, [outer.phases[place], *phases], 1, *inner, sizes, isa, spill=True)


def _copy_axes(
    layout: PaddedLayout,
    phases: list[Phase],
    number: int,
    x: Buffer,
    source: Index,
    target: Buffer,
    base: Index,
    sizes: list[int],
    isa: Isa,
    spill: bool,
) -> None:
    """Copy what is below axis `number`: loops over the outer axes, vectors along the last one."""
    phase, stride = phases[number], layout.problem.axes[number].stride
    step, size = layout.strides[number], math.prod(sizes[number + 1 :])
    source, base = source + phase.first * size, base + phase.lead * step
    if number == len(sizes) - 1:
        padding = layout.problem.pad_value if spill else None
        copy_run(x, source, stride, target, base, phase.count, isa, spill=padding)
        return
    with loop(0, phase.count) as row:
        inner = (x, source + row * (stride * size), target, base + row * step)
        _copy_axes(layout, phases, number + 1, *inner, sizes, isa, spill)


def copy_run(
    x: Buffer, source: Index, stride: int, target: Buffer, at: Index, count: int, isa: Isa, *, spill: int | None = None
) -> None:
    """Copy the elements source, source + stride, … (`count` of them) to neighbouring elements from `at`.

    Bytes may become floats, a vector of bytes at a time. If `spill` is given, up to a vector of it may be written behind them.
    """
    spill = spill if isa.masks and stride <= 2 else None
    lanes = isa.lanes() if spill is not None else lanes_for(count, isa) if stride <= 2 else 1
    if x.dtype != target.dtype and stride <= 2 and isa.lanes() < BYTES <= count:
        lanes = BYTES
    read, vectors = Vectors(lanes, x.dtype), Vectors(lanes, target.dtype)

    def move(step: Index, left: int = lanes) -> None:
        first, other = source + step * stride, spill or 0
        beside = stride == 1
        value = read.load(x, first, read.mask(left), other) if beside else _every_other(x, first, read, left, other)
        vectors.store(value if x.dtype == target.dtype else vectors.from_bytes(value), target, at + step)

    if spill is not None and count % lanes:
        full = count // lanes * lanes
        _runs(full, vectors, move)
        move(Index(full), count - full)
    else:
        _runs(count, vectors, move)


def _every_other(x: Buffer, first: Index, vectors: Vectors, count: int, other: int) -> ir.Value:
    """The elements first, first + 2, … (`count` of them, then `other`); nothing behind the last one is read."""
    lanes = vectors.lanes
    if lanes == 1:
        return vectors.load(x, first)
    if count == lanes:  # the second load begins one element early
        odd = lanes - 1
        picks = [2 * lane if 2 * lane <= odd else 2 * lane + 1 for lane in range(lanes)]
        return shuffle(vectors.load(x, first), vectors.load(x, first + odd), picks)
    span = 2 * count - 1
    low = vectors.load(x, first, vectors.mask(min(span, lanes)), other)
    high = vectors.load(x, first + lanes, vectors.mask(span - lanes), other) if span > lanes else vectors.splat(other)
    return shuffle(low, high, [2 * lane for lane in range(lanes)])


def _runs(count: int, vectors: Vectors, body: Callable[[Index], None]) -> None:
    """Build `body(step)` for vectors at steps that cover `count` elements; the last may overlap the one before."""
    full, together = count // vectors.lanes * vectors.lanes, TOGETHER * vectors.lanes
    looped = full // together * together if full > UNROLLED * vectors.lanes else 0
    with loop(0, looped, together) as step:
        for number in range(0, together, vectors.lanes):
            body(step + number)
    for number in range(looped, full, vectors.lanes):
        body(Index(number))
    if full < count:
        body(Index(count - vectors.lanes))


def lanes_for(count: int, isa: Isa) -> int:
    """The widest vector, a power of two, that is no longer than `count` elements."""
    return min(isa.lanes(), 1 << (max(count, 1).bit_length() - 1))
