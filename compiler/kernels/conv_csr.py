"""Convolution with an unstructured sparse weight: a broadcast per nonzero, and an FMA for each vector of pixels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.csr import Csr
from sparsec.kernels.conv_layout import PaddedLayout, emit_pack
from sparsec.kernels.emit import Buffer, Index, Spec, define, epilogue_buffers, local, loop
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.pixel_tile import Tile, emit_store, plan, tiles
from sparsec.kernels.problem import ConvProblem, Problem
from sparsec.kernels.spmm import ROW_COST, Held, SparseRows, Visits, emit_rows, unroll

UNITS = 32  # enough to share among threads
ROWS_PER_GROUP = 4
BLOCK_BYTES = 32 << 10  # so much of x in L1 at a time
HELD_BYTES = 16 << 10  # so much of y beside it
ALIGN_FROM = 8  # uses of a channel from which a copy with aligned vectors pays


@dataclass(frozen=True, slots=True)
class ConvCsr:
    """Any rank, stride, dilation, padding and grouping; the input may be copied first, padded and aligned."""

    name: str = "f32_conv_csr"
    format: str = "csr"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if not isinstance(problem, ConvProblem):
            return "only convolutions"
        if PaddedLayout.of(problem, isa).image >= 2**31:
            return "one image of the input does not fit 32-bit offsets"
        return None

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, ConvProblem)
        assert weight is not None
        csr = Csr.encode(weight)
        layout = PaddedLayout.of(problem, isa, aligned=csr.nnz >= ALIGN_FROM * problem.channels)
        schedule = _Schedule.of(csr, layout, isa)
        rows = schedule.pack(csr)
        weights = {**rows.arrays, **schedule.members}
        function = _define(module, schedule, {**rows.spec, **_spec(schedule.members)}, epilogue, isa)
        arguments = (layout.source, *weights, *_tails(problem, epilogue), "y")
        units = problem.batch * schedule.tile.count * rows.groups
        call = Call(function, arguments, units, products=csr.nnz * problem.batch * problem.pixels)
        if not layout.copied:
            return LoweredLayer((call,), weights)
        return LoweredLayer((emit_pack(module, layout, isa), call), weights, {layout.source: layout.scratch_elements})


@dataclass(frozen=True, slots=True)
class _Schedule:
    """Tiles of pixels by `groups` of rows.

    With `columns`, a group goes through blocks of so many columns, whose part of x fits L1, and holds its sums in
    memory; else it reads all of a row at once and stores each row when it is done.
    """

    layout: PaddedLayout
    tile: Tile
    groups: tuple[NDArray[np.int64], ...]
    columns: int | None

    @classmethod
    def of(cls, csr: Csr, layout: PaddedLayout, isa: Isa) -> _Schedule:
        problem, work = layout.problem, csr.nnz / layout.problem.filters
        most = min(isa.registers - 4, 14)
        wide = plan(layout, isa, most=most, work=work)
        narrow = min(tiles(layout, isa, most=most), key=lambda tile: _blocked_cycles(tile, layout, work))
        order = np.argsort(-csr.counts, kind="stable")
        if _blocked_cycles(narrow, layout, work) < _plain_cycles(wide, layout, work):
            count = -(-problem.filters * len(narrow.steps) * 4 * narrow.lanes // HELD_BYTES)
            dealt = tuple(order[first::count] for first in range(count))
            return cls(layout, narrow, dealt, _block_columns(narrow, layout))
        count = min(-(-UNITS // (problem.batch * wide.count)), -(-problem.filters // ROWS_PER_GROUP))
        total = np.cumsum(csr.counts[order] + ROW_COST)
        cuts = np.unique(np.searchsorted(total, np.arange(1, count) / count * total[-1]))
        return cls(layout, wide, tuple(part for part in np.split(order, cuts) if len(part)), None)

    @property
    def height(self) -> int:
        """Rows of the longest group."""
        return max(map(len, self.groups))

    @property
    def members(self) -> dict[str, NDArray[np.int32]]:
        """Which rows the held sums of a group are: rows[starts[group]] …; nothing if rows are stored as they come."""
        if self.columns is None:
            return {}
        starts = np.cumsum([0, *map(len, self.groups)])
        return {"rows": np.concatenate(self.groups).astype(np.int32), "starts": starts.astype(np.int32)}

    def pack(self, csr: Csr) -> SparseRows:
        slots = self.groups if self.columns is None else [np.arange(len(group)) for group in self.groups]
        visits = Visits.of(csr, self.groups, slots, columns=self.columns)
        return SparseRows.pack(csr, _offsets(csr, self.layout), visits, multiple=unroll(len(self.tile.steps)))


def _block_columns(tile: Tile, layout: PaddedLayout) -> int:
    """Columns whose part of x fits L1: whole channels."""
    taps = layout.problem.taps
    return max(1, BLOCK_BYTES // _channel_bytes(tile, layout)) * taps


def _channel_bytes(tile: Tile, layout: PaddedLayout) -> int:
    """What a tile reads of one channel, roughly twice its own size if it reads a window."""
    return 4 * tile.lanes * len(tile.steps) * (1 if layout.problem.taps == 1 else 2)


def _blocked_cycles(tile: Tile, layout: PaddedLayout, work: float) -> float:
    """Cycles of one row over all pixels: loads from L1, and per block a loop and the sums from and to memory."""
    if layout.alignment > 1 and tile.count > 2:
        return math.inf  # not aligned after all
    vectors, blocks = len(tile.steps), -(-layout.problem.reduction // _block_columns(tile, layout))
    return tile.count * (work * max(vectors + 1, 4) * _load_cycles(layout, 0) + blocks * (2.2 * vectors + 12))


def _plain_cycles(tile: Tile, layout: PaddedLayout, work: float) -> float:
    """Cycles of one row over all pixels, whose loads come from where the tile's part of x fits."""
    vectors = len(tile.steps)
    size = layout.problem.channels // layout.problem.groups * _channel_bytes(tile, layout)
    return tile.count * (work * (vectors + 1) * _load_cycles(layout, size) + vectors + 12)


def _load_cycles(layout: PaddedLayout, size: int) -> float:
    """Cycles per vector loaded in turn from `size` bytes; vectors that cross cache lines take two accesses."""
    crossing = 0.4 if layout.problem.taps > 1 or layout.channel * 4 % 64 else 0.0
    return 0.6 + crossing + 0.65 * min(1.0, max(0.0, (size - BLOCK_BYTES) / (5 * BLOCK_BYTES)))


def _spec(arrays: Mapping[str, NDArray[np.int32]]) -> dict[str, tuple[str, int]]:
    return {name: ("i32", len(array)) for name, array in arrays.items()}


def _offsets(csr: Csr, layout: PaddedLayout) -> np.ndarray:
    """The element that each nonzero reads for the pixel at position 0."""
    problem = layout.problem
    inside = problem.channels // problem.groups
    filters = np.repeat(np.arange(csr.rows), csr.counts)
    channel, tap = np.divmod(csr.columns.astype(np.int64), problem.taps)
    return layout.tap_offsets()[filters // (problem.filters // problem.groups) * inside + channel, tap]


def _tails(problem: ConvProblem, epilogue: Epilogue) -> dict[str, tuple[str, int]]:
    return epilogue_buffers(epilogue, problem.batch * problem.filters * problem.pixels, problem.filters)


def _define(module: ir.Module, schedule: _Schedule, weights: Spec, epilogue: Epilogue, isa: Isa) -> str:
    """Add the kernel; a unit is one tile of pixels by one group of rows, groups first: a tile of x stays in cache."""
    layout, tile, problem = schedule.layout, schedule.tile, schedule.layout.problem
    spec = {
        layout.source: ("f32", layout.source_elements),
        **weights,
        **_tails(problem, epilogue),
        "y": ("f32", problem.batch * problem.filters * problem.pixels),
    }
    groups = len(schedule.groups)
    digest = hashlib.sha256(f"{problem}{tile.steps}{groups}{schedule.height}{spec}{epilogue.tag}".encode()).hexdigest()[
        :8
    ]
    name = f"f32_conv_csr_{len(tile.steps)}x{tile.lanes}_{digest}_{isa.suffix}"

    def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        held = None
        if schedule.columns is not None:
            memory = local("f32", schedule.height * tile.lanes * len(tile.steps))
            held = Held(memory, tile.vectors, len(tile.steps))
        with loop(begin, end) as unit:
            image, number, group = unit // (groups * tile.count), unit // groups % tile.count, unit % groups
            position, pixel = tile.origin(number)
            first = image * (problem.filters * problem.pixels) + pixel

            def store(row: Index, sums: list[ir.Value], first: Index = first) -> None:
                emit_store(tile, sums, epilogue, buffers, element=first + row * problem.pixels, channel=row)

            if held is not None:
                held.clear(schedule.height)
            emit_rows(
                buffers,
                tile.vectors,
                tile.steps,
                source=buffers[layout.source],
                base=image * layout.image + position,
                group=group,
                start=held.load if held else lambda _: [tile.vectors.splat(0.0)] * len(tile.steps),
                store=held.save if held else store,
            )
            if held is not None:
                start, stop = (buffers["starts"].load_index(group + i) for i in (0, 1))
                with loop(start, stop) as place:
                    store(buffers["rows"].load_index(place), held.load(place - start))

    define(module, name, spec, body)
    return name
