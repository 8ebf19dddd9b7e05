"""Depthwise convolution: every channel has filters of its own.

A channel is copied to a small padded plane on the stack, which then stays in L1 while its taps run over it. Taps are
written out, so each pattern of zeros that many filters share gets code without these taps, and channels are visited
pattern by pattern; filters without a single nonzero cost one store of the epilogue.

Bytes become floats on their way to the stack. That is exact: no sum of so few taps leaves the integers of fp32.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.coo import as_dense
from sparsec.kernels.arithmetic import F32, Arithmetic
from sparsec.kernels.conv_layout import PADDED, PaddedLayout, emit_copy, emit_copy_band, emit_fill, emit_pack
from sparsec.kernels.emit import (
    Buffer,
    Index,
    Vectors,
    as_index,
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
MOST_PATTERNS = 8  # of zeros that get code of their own
LEAST_SAVED = 0.01  # of a layer's products, by such code


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
        patterns = Patterns.of(taps != 0)
        weights: dict[str, NDArray[np.generic]] = {"taps": taps.reshape(-1), **patterns.arrays(problem.channels)}
        plane = _Plane.of(problem, isa)
        function = _define(module, plane, patterns.codes, epilogue, isa)
        tails = epilogue_buffers(epilogue, problem.batch * problem.filters * problem.pixels, problem.filters)
        products = problem.batch * problem.pixels * patterns.taps
        units = problem.batch * problem.channels * plane.bands
        call = Call(function, (plane.source, *weights, *tails, "y"), units, max(products, 1))
        if plane.on_stack or not plane.layout.copied:
            return LoweredLayer((call,), weights)
        return LoweredLayer(
            (emit_pack(module, plane.layout, isa), call), weights, {PADDED: ("f32", plane.layout.scratch_elements)}
        )


@dataclass(frozen=True, slots=True)
class Patterns:
    """Filter i is computed by the code of the taps `codes[which[i]]`: all its nonzeros, and few zeros.

    If there are filters without nonzeros, code 0 is theirs, and has no taps.
    """

    codes: tuple[tuple[int, ...], ...]
    which: NDArray[np.int32]

    @classmethod
    def of(cls, masks: NDArray[np.bool_]) -> Patterns:
        """Of the nonzeros [filters, taps]: the patterns that save most, and all taps for the rest."""
        count = masks.shape[1]
        found, inverse, filters = np.unique(masks, axis=0, return_inverse=True, return_counts=True)
        saved = filters * (count - found.sum(axis=1))
        worth = [n for n in np.argsort(-saved, kind="stable") if saved[n] >= max(LEAST_SAVED * masks.size, 1)]
        everything = np.ones((1, count), dtype=np.bool_)
        kept = np.concatenate([found[worth[:MOST_PATTERNS]], found[~found.any(axis=1)], everything])
        sizes = kept.sum(axis=1)
        covers = ~(found[:, None, :] & ~kept[None, :, :]).any(axis=2)
        cheapest = np.where(covers, sizes, count + 1).argmin(axis=1)
        used = np.unique(cheapest)
        used = used[np.argsort(sizes[used], kind="stable")]
        codes = tuple(tuple(int(tap) for tap in np.flatnonzero(kept[n])) for n in used)
        place = np.zeros(len(kept), dtype=np.int32)
        place[used] = np.arange(len(used))
        return cls(codes, place[cheapest][inverse.reshape(-1)])

    @property
    def taps(self) -> int:
        """Taps that are computed, of all filters."""
        return sum(len(self.codes[code]) for code in self.which)

    def arrays(self, channels: int) -> dict[str, NDArray[np.generic]]:
        """What the kernel reads: the code of each filter, and the order in which channels are visited."""
        by_channel = self.which.reshape(channels, -1)
        order = np.lexsort(by_channel.T[::-1]).astype(np.int32)
        return {"codes": self.which, "order": order}


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


def _define(module: ir.Module, plane: _Plane, codes: tuple[tuple[int, ...], ...], epilogue: Epilogue, isa: Isa) -> str:
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
        "codes": ("i32", problem.filters),
        "order": ("i32", problem.channels),
        **epilogue_buffers(epilogue, outputs, problem.filters),
        "y": (epilogue.result, outputs),
    }
    digest = hashlib.sha256(f"{problem}{codes}{epilogue.tag}".encode()).hexdigest()[:8]
    name = f"{problem.arithmetic.name}_conv_depthwise_{len(plane.tile.steps)}x{plane.tile.lanes}_{digest}_{isa.suffix}"
    multiplier = problem.filters // problem.channels

    def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        source, half = buffers[plane.source], layout.channel + layout.slack
        ahead = 1 if 4 * half <= AHEAD_BYTES else 0

        def place(unit: Index) -> tuple[Index, Index]:
            """The image and the channel of a unit."""
            number = unit // plane.bands
            return number // problem.channels, buffers["order"].load_index(number % problem.channels)

        def copy(unit: Index) -> None:
            (image, channel), first = place(unit), plane.first_row(unit)
            at, target = (image * problem.channels + channel) * size, unit % (ahead + 1) * half
            if () not in codes:
                plane.copy(buffers["x"], at, first, source, target, isa)
                return
            with when(_any_used(buffers["codes"], channel, multiplier)):
                plane.copy(buffers["x"], at, first, source, target, isa)

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
            (image, channel), first = place(unit), plane.first_row(unit)
            with loop(0, multiplier) as which:
                row = channel * multiplier + which
                pixel = first * (problem.pixels // problem.axes[0].out)
                element = (image * problem.filters + row) * problem.pixels + pixel
                base = (
                    unit % (ahead + 1) * half
                    if plane.on_stack
                    else (image * problem.channels + channel) * layout.channel
                )
                _emit_filter(plane, codes, epilogue, buffers, source, base, row, element)

    define(module, name, spec, body)
    return name


def _any_used(codes: Buffer, channel: Index, multiplier: int) -> ir.Value:
    """Whether a filter of the channel has nonzeros; code 0 is that of filters without."""
    total = codes.load_index(channel * multiplier)
    for number in range(1, multiplier):
        total = total + codes.load_index(channel * multiplier + number)
    return as_index(0) < total


def _emit_filter(
    plane: _Plane,
    codes: tuple[tuple[int, ...], ...],
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

    def computed(taps: tuple[int, ...]) -> None:
        with loop(0, tile.count) as part:
            position, pixel = tile.origin(part)
            if taps:
                _emit_tile(plane, taps, epilogue, buffers, source, base + position, row, element + pixel)
            else:
                emit_store(tile, zeros, epilogue, buffers, element=element + pixel, channel=row)

    def rest(number: int) -> Callable[[], None]:
        """Code number `number`, if it is the filter's, or a later one."""
        if number == len(codes) - 1:
            return lambda: computed(codes[number])
        return lambda: choose(mine.equals(number), lambda: computed(codes[number]), rest(number + 1))

    mine = buffers["codes"].load_index(row)
    rest(0)()


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
