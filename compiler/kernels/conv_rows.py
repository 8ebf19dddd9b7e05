"""Convolutions whose sparse rows, or rows of blocks, meet tiles of pixels: what CSR and block kernels share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.blocked import Blocked
from sparsec.kernels.arithmetic import Arithmetic
from sparsec.kernels.conv_copy import PADDED, emit_pack
from sparsec.kernels.conv_layout import PaddedLayout
from sparsec.kernels.emit import Buffer, Vectors, define, epilogue_buffers, loop, when
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer
from sparsec.kernels.pack_words import source_of
from sparsec.kernels.pixel_tile import Tile, emit_store
from sparsec.kernels.problem import ConvProblem, Problem
from sparsec.kernels.schedule import block_unroll, row_unroll
from sparsec.kernels.sparse_rows import ROW_COST, SparseRows, Visits
from sparsec.kernels.spmm import emit_rows
from sparsec.kernels.words import refusal

UNITS = 32  # enough to share among threads
ROWS_PER_GROUP = 4
ALIGN_FROM = 8  # uses of a channel from which a copy with aligned vectors pays


@dataclass(frozen=True, slots=True)
class ConvRows:
    """The schedule: tiles of pixels by `groups` of rows, each of `height` filters (1 for CSR)."""

    kernel: str
    layout: PaddedLayout
    tile: Tile
    height: int
    groups: tuple[NDArray[np.int64], ...]

    @staticmethod
    def refuses(problem: Problem, arithmetic: Arithmetic, isa: Isa) -> str | None:
        """Why a problem has no such schedule in this arithmetic; None if it has."""
        if not isinstance(problem, ConvProblem):
            return "only convolutions"
        if (other := refusal(problem.arithmetic, arithmetic, isa)) is not None:
            return other
        if PaddedLayout.of(problem, isa).image >= 2**31:
            return "one image of the input does not fit 32-bit offsets"
        return None

    @property
    def longest(self) -> int:
        """Rows of the longest group."""
        return max(map(len, self.groups))

    def lower(self, module: ir.Module, weight: Blocked, epilogue: Epilogue, isa: Isa) -> LoweredLayer:
        """Add the kernel, and the copy of x that it needs."""
        problem, layout = self.layout.problem, self.layout
        rows = self._pack(weight, isa)
        source, words = source_of(problem, isa)
        source = PADDED if layout.copied else source
        spec = {
            source: (words.dtype, layout.source_elements),
            **rows.spec,
            **epilogue_buffers(epilogue, problem.batch * problem.filters * problem.pixels, problem.filters),
            "y": (epilogue.result, problem.batch * problem.filters * problem.pixels),
        }
        function = self._define(module, spec, rows.multiple, source, epilogue, isa)
        units = problem.batch * self.tile.count * rows.groups
        products = weight.values.size * problem.batch * problem.pixels
        call = Call(function, tuple(spec), units, products)
        if not layout.copied:
            return LoweredLayer((call,), rows.arrays)
        scratch = {PADDED: (words.dtype, layout.scratch_elements)}
        return LoweredLayer((emit_pack(module, layout, isa), call), rows.arrays, scratch)

    def _pack(self, weight: Blocked, isa: Isa) -> SparseRows:
        visits = Visits.of(weight, self.groups, self.groups, columns=None)
        sums = len(self.tile.steps) * self.height
        multiple = row_unroll(sums, isa) if self.height == 1 else block_unroll(sums, isa)
        words = source_of(self.layout.problem, isa)[1]
        return SparseRows.pack(weight.values, self._offsets(weight), visits, multiple=multiple, words=words)

    def _offsets(self, weight: Blocked) -> NDArray[np.int64]:
        """The element that each nonzero or block reads for the pixel at position 0."""
        problem = self.layout.problem
        inside = problem.channels // problem.groups
        filters = np.repeat(np.arange(len(weight.counts)), weight.counts) * self.height
        channel, tap = np.divmod(weight.columns.astype(np.int64), problem.taps)
        return self.layout.tap_offsets()[filters // (problem.filters // problem.groups) * inside + channel, tap]

    def _define(
        self,
        module: ir.Module,
        spec: Mapping[str, tuple[str, int]],
        apart: int,
        source: str,
        epilogue: Epilogue,
        isa: Isa,
    ) -> str:
        """Add the kernel; a unit is one tile of pixels by one group of rows, groups first: a tile of x stays in cache."""
        layout, tile, problem = self.layout, self.tile, self.layout.problem
        groups, steps = len(self.groups), len(tile.steps)
        shape = f"{problem}{tile.steps}{groups}{self.longest}{self.height}{spec}{epilogue.tag}"
        digest = hashlib.sha256(shape.encode()).hexdigest()[:8]
        name = f"{self.kernel}_{self.height}x{steps * tile.lanes}_{digest}_{isa.suffix}"
        ragged = problem.filters % self.height != 0
        words = source_of(problem, isa)[1]
        sum_vectors = Vectors(tile.lanes, words.arithmetic.total)

        def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            with loop(begin, end) as unit:
                image, number, group = unit // (groups * tile.count), unit // groups % tile.count, unit % groups
                position, pixel = tile.origin(number)
                first = image * (problem.filters * problem.pixels) + pixel

                def one(row: Index, sums: list[ir.Value], first: Index = first) -> None:
                    emit_store(tile, sums, epilogue, buffers, element=first + row * problem.pixels, channel=row)

                def store(rows: Index, sums: list[ir.Value]) -> None:
                    for inside in range(self.height):
                        row, own = rows * self.height + inside, sums[inside * steps : (inside + 1) * steps]
                        if ragged and inside:
                            with when(row < problem.filters):
                                one(row, own)
                        else:
                            one(row, own)

                emit_rows(
                    buffers,
                    sum_vectors,
                    tile.steps,
                    height=self.height,
                    apart=apart,
                    source=buffers[source],
                    base=image * layout.image + position,
                    group=group,
                    start=lambda _: [sum_vectors.splat(0)] * (steps * self.height),
                    store=store,
                    words=words,
                )

        define(module, name, spec, body)
        return name


def equal_groups(counts: NDArray[np.int32], tiles: int) -> tuple[NDArray[np.int64], ...]:
    """Rows dealt to groups of about equal work, longest rows first: enough groups for UNITS units over `tiles`."""
    order = np.argsort(-counts, kind="stable")
    count = min(-(-UNITS // tiles), -(-len(counts) // ROWS_PER_GROUP))
    total = np.cumsum(counts[order] + ROW_COST)
    cuts = np.unique(np.searchsorted(total, np.arange(1, count) / count * total[-1]))
    return tuple(part for part in np.split(order, cuts) if len(part))
