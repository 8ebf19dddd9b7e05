"""Depthwise convolution: every channel has filters of its own, with dense taps.

A channel is copied to a small padded plane on the stack, which then stays in L1 while its taps run over it; filters
without a single nonzero cost one store of the epilogue.

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
from torch_mlir.dialects import arith

from sparsec.formats.coo import as_dense
from sparsec.kernels.arithmetic import F32, Arithmetic
from sparsec.kernels.conv_layout import PADDED, PaddedLayout, emit_copy, emit_copy_band, emit_fill, emit_pack
from sparsec.kernels.emit import (
    Buffer,
    Index,
    Vectors,
    choose,
    define,
    epilogue_buffers,
    fma,
    local,
    loop,
    minimum,
    when,
)
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.pixel_tile import Tile, emit_piece, emit_store, plan
from sparsec.kernels.problem import ConvProblem, Problem
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
        used = np.asarray(taps.any(axis=1), dtype=np.int32)
        weights: dict[str, NDArray[np.generic]] = {"taps": taps.reshape(-1), "used": used}
        plane = _Plane.of(problem, isa)
        function = _define(module, plane, epilogue, isa)
        tails = epilogue_buffers(epilogue, problem.batch * problem.filters * problem.pixels, problem.filters)
        products = problem.batch * problem.pixels * problem.taps * int(used.sum())
        units = problem.batch * problem.channels * plane.bands
        call = Call(function, (plane.source, "taps", "used", *tails, "y"), units, max(products, 1))
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
        return cls(problem, layout, tile, rows, on_stack)

    @property
    def bands(self) -> int:
        return -(-self.problem.axes[0].out // self.rows)

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


def _define(module: ir.Module, plane: _Plane, epilogue: Epilogue, isa: Isa) -> str:
    """Add the kernel; one unit is one band of one channel of one image."""
    layout, problem = plane.layout, plane.problem
    size = math.prod(axis.size for axis in problem.axes)
    outputs = problem.batch * problem.filters * problem.pixels
    spec = {
        plane.source: (
            problem.arithmetic.stored,
            problem.batch * problem.channels * size if plane.on_stack else layout.source_elements,
        ),
        "taps": ("f32", problem.filters * problem.taps),
        "used": ("i32", problem.filters),
        **epilogue_buffers(epilogue, outputs, problem.filters),
        "y": (epilogue.result, outputs),
    }
    digest = hashlib.sha256(f"{problem}{epilogue.tag}".encode()).hexdigest()[:8]
    name = f"{problem.arithmetic.name}_conv_depthwise_{len(plane.tile.steps)}x{plane.tile.lanes}_{digest}_{isa.suffix}"
    multiplier = problem.filters // problem.channels

    def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        source, half = buffers[plane.source], layout.channel + layout.slack
        ahead = 1 if 4 * half <= AHEAD_BYTES else 0

        def copy(unit: Index) -> None:
            number, first = unit // plane.bands, plane.first_row(unit)
            with when(_any_used(buffers["used"], number % problem.channels, multiplier)):
                plane.copy(buffers["x"], number * size, first, source, unit % (ahead + 1) * half, isa)

        if plane.on_stack:
            source = local("f32", half * (ahead + 1))
            emit_fill(source, Index(0), source.size, isa, problem.pad_value)
            if ahead:
                with when(begin < end):
                    copy(begin)
        with loop(begin, end) as unit:
            if plane.on_stack:
                with when(unit + ahead < end):
                    copy(unit + ahead)
            number, first = unit // plane.bands, plane.first_row(unit)
            channel, image = number % problem.channels, number // problem.channels
            with loop(0, multiplier) as which:
                row = channel * multiplier + which
                pixel = first * (problem.pixels // problem.axes[0].out)
                element = (image * problem.filters + row) * problem.pixels + pixel
                base = unit % (ahead + 1) * half if plane.on_stack else number * layout.channel
                _emit_filter(plane, epilogue, buffers, source, base, row, element)

    define(module, name, spec, body)
    return name


def _any_used(used: Buffer, channel: Index, multiplier: int) -> ir.Value:
    first = channel * multiplier
    total = used.load(first)
    for number in range(1, multiplier):
        total = arith.ori(total, used.load(first + number))
    return arith.trunci(ir.IntegerType.get_signless(1), total)


def _emit_filter(
    plane: _Plane,
    epilogue: Epilogue,
    buffers: Mapping[str, Buffer],
    source: Buffer,
    base: Index,
    row: Index,
    element: Index,
) -> None:
    """All pixels of one filter in one band, whose output begins at `element`."""
    tile = plane.tile
    zeros = [Vectors(tile.lanes, epilogue.total).splat(0)] * len(tile.steps)

    def used() -> None:
        with loop(0, tile.count) as part:
            position, pixel = tile.origin(part)
            _emit_tile(plane, epilogue, buffers, source, base + position, row, element + pixel)

    def empty() -> None:
        with loop(0, tile.count) as part:
            emit_store(tile, zeros, epilogue, buffers, element=element + tile.origin(part)[1], channel=row)

    choose(buffers["used"].load_index(row).equals(1), used, empty)


def _emit_tile(
    plane: _Plane,
    epilogue: Epilogue,
    buffers: Mapping[str, Buffer],
    source: Buffer,
    at: Index,
    row: Index,
    element: Index,
) -> None:
    """One tile: each vector of the input is loaded once, and rows that are complete are stored at once."""
    tile, vectors, taps = plane.tile, plane.tile.vectors, plane.problem.taps
    sums = [vectors.splat(0.0)] * len(tile.steps)
    weights = [vectors.load_splat(buffers["taps"], row * taps + tap) for tap in range(taps)]
    users: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for tap, offset in enumerate(plane.layout.window_offsets()):
        for which, step in enumerate(tile.steps):
            users[step + int(offset)].append((which, tap))
    left = [taps] * len(tile.steps)
    waiting = list(tile.pieces)
    for place in sorted(users):
        value = Vectors(vectors.lanes, source.dtype).load(source, at + place)
        value = value if source.dtype == vectors.dtype else vectors.from_bytes(value)
        for which, tap in users[place]:
            sums[which] = fma(weights[tap], value, sums[which])
            left[which] -= 1
            if not left[which] and epilogue.total != vectors.dtype:
                sums[which] = Vectors(vectors.lanes, epilogue.total).truncate(sums[which])
        while waiting and not any(left[number] for number in waiting[0].sources):
            emit_piece(tile, waiting.pop(0), sums, epilogue, buffers, element=element, channel=row)
