"""Copies of a convolution's input to where it is read: see `sparsec.kernels.conv_layout`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from torch_mlir import ir

from sparsec.kernels.conv_layout import Line, PaddedLayout, Phase
from sparsec.kernels.emit import Buffer, Vectors, define, loop, shuffle, when
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call
from sparsec.kernels.pack_words import source_of
from sparsec.kernels.problem import ConvProblem

PADDED = "padded"  # the buffer of the copy
BYTES = 16  # of the smallest vector: so many bytes become floats at a time
UNROLLED = 16  # copies of a row that are written out; longer rows get a loop
TOGETHER = 4  # copies in the body of such a loop


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
    vectors = Vectors(isa.lanes_for(count), target.dtype)
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
    lanes = isa.lanes() if spill is not None else isa.lanes_for(count) if stride <= 2 else 1
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
