"""Depthwise convolution: every channel has filters of its own.

A channel is copied to a small padded plane on the stack, which then stays in L1 while its taps run over it. Taps are
written out, so channels that share a pattern of zeros are visited behind each other, by a loop without these taps;
channels without a single nonzero cost one store of the epilogue.

Bytes become floats on their way to the stack. That is exact: no sum of so few taps leaves the integers of fp32.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.coo import as_dense
from sparsec.kernels.arithmetic import F32, Arithmetic
from sparsec.kernels.conv_copy import PADDED, emit_copy, emit_copy_band, emit_fill, emit_pack
from sparsec.kernels.conv_layout import PaddedLayout
from sparsec.kernels.emit import Buffer, Vectors, carry, define, element_bytes, epilogue_buffers, fma, local, loop, when
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index, hidden, minimum, pick
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.pixel_tile import Tile, emit_pieces, emit_store, plan
from sparsec.kernels.problem import ConvProblem, Problem
from sparsec.kernels.tap_patterns import Patterns, Run
from sparsec.kernels.words import refusal

AHEAD_BYTES = (
    2 << 10
)  # a smaller copy is made one unit ahead: what was just stored cannot be read at once across its vectors
BAND_BYTES = 16 << 10  # so much of L1 for the copy of a band of rows
STACK_BYTES = 64 << 10  # a larger band is not copied to the stack, but by a call of its own
MOST_TAPS = 128  # all taps are written out


@dataclass(frozen=True, slots=True)
class ConvDepthwise:
    """groups == channels, any number of filters per channel, any rank, stride, dilation and padding."""

    arithmetic: Arithmetic = F32
    format: str = "dense"

    @property
    def name(self) -> str:
        return f"{self.arithmetic.name}_conv_depthwise"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if not isinstance(problem, ConvProblem) or problem.groups != problem.channels:
            return "only convolutions with as many groups as channels"
        if problem.taps > MOST_TAPS:
            return f"more than {MOST_TAPS} taps"
        if (other := refusal(problem.arithmetic, self.arithmetic, isa)) is not None:
            return other
        plane = _Plane.of(problem, isa)
        if self.arithmetic != F32 and plane.layout.copied and not plane.on_stack:
            return "a channel is too long for the stack, where bytes become floats"
        return None

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, ConvProblem)
        assert weight is not None
        dense = as_dense(weight)
        taps = np.ascontiguousarray(dense.reshape(problem.filters, problem.taps), dtype=np.float32)
        used = np.asarray(taps.reshape(problem.channels, -1, problem.taps).any(axis=1))
        patterns = Patterns.of(used)
        weights: dict[str, NDArray[np.generic]] = {"taps": taps.reshape(-1), **patterns.arrays}
        plane = _Plane.of(problem, isa)
        function = _define(module, plane, patterns.runs, epilogue, isa)
        tails = epilogue_buffers(epilogue, problem.batch * problem.filters * problem.pixels, problem.filters)
        products = patterns.taps * problem.batch * problem.pixels * (problem.filters // problem.channels)
        units = problem.batch * problem.channels * plane.bands
        call = Call(function, (plane.source, *weights, *tails, "y"), units, max(products, 1))
        if plane.on_stack or not plane.layout.copied:
            return LoweredLayer((call,), weights)
        return LoweredLayer(
            (emit_pack(module, plane.layout, isa), call), weights, {PADDED: ("f32", plane.layout.scratch_elements)}
        )


@dataclass(frozen=True, slots=True)
class _Plane:
    """How one channel is read: in bands of output rows, each copied to the stack as `layout` says and cut into tiles.

    A channel that has too long rows for the stack is one band, read from the buffer `source`.
    """

    problem: ConvProblem
    layout: PaddedLayout
    tile: Tile
    rows: int
    on_stack: bool
    reach: int | None

    @classmethod
    def of(cls, problem: ConvProblem, isa: Isa) -> _Plane:
        layout = PaddedLayout.of(problem, isa)
        rows, on_stack = problem.axes[0].out, layout.copied
        if layout.copied and _bytes(layout) > BAND_BYTES:
            fitting = [(rows, _bytes(PaddedLayout.of(_band(problem, rows), isa))) for rows in range(1, rows + 1)]
            most = max((rows for rows, size in fitting if size <= BAND_BYTES), default=1)
            bands = -(-rows // most)
            on_stack = len(problem.axes) > 1 and fitting[0][1] <= STACK_BYTES
            rows = -(-rows // bands) if on_stack else rows
            layout = PaddedLayout.of(_band(problem, rows), isa) if on_stack else layout
        most = isa.registers // 2 - 2  # beside the taps, which should stay in registers, too
        most = most if most + problem.taps <= isa.registers else isa.registers // 4
        tile = plan(layout, isa, most=most, work=problem.taps)
        return cls(problem, layout, tile, rows, on_stack, isa.reach)

    @property
    def bands(self) -> int:
        return -(-self.problem.axes[0].out // self.rows)

    @property
    def half(self) -> int:
        """Elements of a band on the stack."""
        return self.layout.channel + self.layout.slack

    @property
    def ahead(self) -> int:
        """How many units ahead a band is copied."""
        return 1 if 4 * self.half <= AHEAD_BYTES else 0

    @property
    def source(self) -> str:
        return PADDED if self.layout.copied and not self.on_stack else "x"

    def first_row(self, unit: Index) -> Index:
        """The first output row of a unit's band."""
        return minimum(unit % self.bands * self.rows, self.problem.axes[0].out - self.rows)

    def copy(self, x: Buffer, source: Index, first: Index, stack: Buffer, at: Index, isa: Isa) -> None:
        """Copy to `at` what the outputs from row `first` read of the channel at element `source`."""
        if self.layout.problem == self.problem:
            emit_copy(self.layout, x, source, stack, at, isa, spill=True)
        else:
            emit_copy_band(self.problem, self.layout, x, source, first, stack, at, isa)


def _bytes(layout: PaddedLayout) -> int:
    return 4 * (layout.channel + layout.slack)


def _band(problem: ConvProblem, rows: int) -> ConvProblem:
    """The problem of `rows` outputs along the first axis, all of whose samples exist."""
    axis = problem.axes[0]
    size = (rows - 1) * axis.stride + axis.dilation * (axis.kernel - 1) + 1
    return replace(problem, axes=(replace(axis, size=size, before=0, after=0), *problem.axes[1:]))


def _define(module: ir.Module, plane: _Plane, runs: tuple[Run, ...], epilogue: Epilogue, isa: Isa) -> str:
    """Add the kernel; one unit is one band of one channel of one image. Those of a run follow each other."""
    layout, problem = plane.layout, plane.problem
    size = math.prod(axis.size for axis in problem.axes)
    outputs = problem.batch * problem.filters * problem.pixels
    spec = {
        plane.source: (
            problem.arithmetic.stored,
            problem.batch * problem.channels * size if plane.on_stack else layout.source_elements,
        ),
        "taps": ("f32", problem.filters * problem.taps),
        **({"order": ("i32", problem.channels)} if len(runs) > 1 else {}),
        **epilogue_buffers(epilogue, outputs, problem.filters),
        "y": (epilogue.result, outputs),
    }
    digest = hashlib.sha256(f"{problem}{runs}{epilogue.tag}".encode()).hexdigest()[:8]
    name = f"{problem.arithmetic.name}_conv_depthwise_{len(plane.tile.steps)}x{plane.tile.lanes}_{digest}_{isa.suffix}"

    def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        source = buffers[plane.source]
        if plane.on_stack:
            source = local("f32", plane.half * (plane.ahead + 1))
            emit_fill(source, Index(0), source.size, isa, problem.pad_value)
        for run in runs:
            start = run.first * problem.batch * plane.bands
            behind = start + run.channels * problem.batch * plane.bands
            first = pick(begin < start, start, begin) if start else begin
            _emit_run(plane, run, epilogue, buffers, source, start, first, minimum(end, behind), isa)

    define(module, name, spec, body)
    return name


def _emit_run(
    plane: _Plane,
    run: Run,
    epilogue: Epilogue,
    buffers: Mapping[str, Buffer],
    source: Buffer,
    start: int,
    begin: Index,
    end: Index,
    isa: Isa,
) -> None:
    """The units [begin, end) of a run, whose first one is `start`."""
    problem, copied = plane.problem, plane.on_stack and bool(run.taps)
    size = math.prod(axis.size for axis in problem.axes)
    multiplier, ordered = problem.filters // problem.channels, "order" in buffers

    def channel_of(unit: Index) -> Index:
        number = (unit - start) // plane.bands % run.channels
        return buffers["order"].load_index(number + run.first) if ordered else number

    def image_of(unit: Index) -> Index:
        return (unit - start) // plane.bands // run.channels

    def copy(unit: Index, channel: Index) -> None:
        at = (image_of(unit) * problem.channels + channel) * size
        target = unit % (plane.ahead + 1) * plane.half
        plane.copy(buffers["x"], at, plane.first_row(unit), source, target, isa)

    if copied and plane.ahead:
        with when(begin < end):
            copy(begin, channel_of(begin))

    def one(unit: Index, found: list[ir.Value]) -> list[ir.Value]:
        channel, after = (
            (Index(dynamic=each) for each in found) if ordered else (channel_of(unit), channel_of(unit + 1))
        )
        if copied:
            with when(unit + plane.ahead < end):
                copy(unit + plane.ahead, after if plane.ahead else channel)
        image, first = image_of(unit), plane.first_row(unit)
        whole = (image * problem.channels + channel) * plane.layout.channel
        base = unit % (plane.ahead + 1) * plane.half if plane.on_stack else whole
        with loop(0, multiplier) as which:
            row = channel * multiplier + which
            pixel = first * (problem.pixels // problem.axes[0].out)
            element = (image * problem.filters + row) * problem.pixels + pixel
            _emit_filter(plane, run.taps, epilogue, buffers, source, base, row, element)
        return [after.value, channel_of(unit + 2).value] if ordered else []

    # Channels are looked up two units before, so that nobody waits for what they read.
    carry(begin, end, 1, [channel_of(begin + number).value for number in (0, 1)] if ordered else [], one)


def _emit_filter(
    plane: _Plane,
    taps: tuple[int, ...],
    epilogue: Epilogue,
    buffers: Mapping[str, Buffer],
    source: Buffer,
    base: Index,
    row: Index,
    element: Index,
) -> None:
    """All pixels of one filter in one band, whose output begins at `element`."""
    tile = plane.tile

    def one(position: Index, pixel: Index) -> None:
        if taps:
            _emit_tile(plane, taps, epilogue, buffers, source, base + position, row, element + pixel)
        else:
            zeros = [Vectors(tile.lanes, epilogue.total).splat(0)] * len(tile.steps)
            emit_store(tile, zeros, epilogue, buffers, element=element + pixel, channel=row)

    tile.each(one)


def _emit_tile(
    plane: _Plane,
    taps: tuple[int, ...],
    epilogue: Epilogue,
    buffers: Mapping[str, Buffer],
    source: Buffer,
    at: Index,
    row: Index,
    element: Index,
) -> None:
    """One tile of these taps: each vector of the input is loaded once, and rows that are complete are stored at once."""
    tile, vectors, offsets = plane.tile, plane.tile.vectors, plane.layout.window_offsets()
    sums = [vectors.splat(0.0)] * len(tile.steps)
    weights = {tap: vectors.load_splat(buffers["taps"], row * plane.problem.taps + tap) for tap in taps}
    users: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for tap in taps:
        for which, step in enumerate(tile.steps):
            users[step + int(offsets[tap])].append((which, tap))
    left = [len(taps)] * len(tile.steps)
    waiting = tile.runs(epilogue)
    start = 0
    for place in sorted(users):
        if plane.reach is not None and (place - start) * element_bytes(source.dtype) > plane.reach:
            at, start = hidden(at + (place - start)), place
        value = Vectors(vectors.lanes, source.dtype).load(source, at + (place - start))
        value = value if source.dtype == vectors.dtype else vectors.from_bytes(value)
        for which, tap in users[place]:
            sums[which] = fma(weights[tap], value, sums[which])
            left[which] -= 1
            if not left[which] and epilogue.total != vectors.dtype:
                sums[which] = Vectors(vectors.lanes, epilogue.total).truncate(sums[which])
        while waiting and not any(left[number] for piece in waiting[0] for number in piece.sources):
            emit_pieces(tile, waiting.pop(0), sums, epilogue, buffers, element=element, channel=row)
