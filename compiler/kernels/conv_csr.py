"""Convolution with an unstructured sparse weight: per filter and nonzero one broadcast and one multiply-add per vector of pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch_mlir import ir

from sparsec.formats.csr import Csr
from sparsec.kernels.conv_layout import PaddedLayout, emit_pack
from sparsec.kernels.emit import Buffer, Index, define, epilogue_buffers, loop
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.pixel_tile import Tile, emit_store, plan
from sparsec.kernels.problem import ConvProblem, Problem
from sparsec.kernels.spmm import SparseRows, Visits, emit_rows, unroll

UNITS = 32  # enough to share among threads
ROWS_PER_GROUP = 4
ALIGN_FROM = 8  # uses of a channel from which a copy with aligned vectors pays


@dataclass(frozen=True, slots=True)
class ConvCsr:
    """Any rank, stride, dilation, padding and grouping; the input is copied first unless each pixel is read at its own place."""

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
        assert isinstance(problem, ConvProblem) and weight is not None
        csr = Csr.encode(weight)
        layout = PaddedLayout.of(problem, isa, aligned=csr.nnz >= ALIGN_FROM * problem.channels)
        tile = plan(layout, isa, most=isa.registers // 2 - 2, work=csr.nnz / problem.filters)
        tiles = problem.batch * tile.count
        groups = min(-(-UNITS // tiles), -(-problem.filters // ROWS_PER_GROUP))
        visits = Visits.balanced(csr, groups)
        rows = SparseRows.pack(csr, _offsets(csr, layout), visits, multiple=unroll(len(tile.steps)))
        function = _define(module, layout, tile, rows, epilogue, isa)
        arguments = (layout.source, *rows.spec, *_tails(problem, epilogue), "y")
        call = Call(function, arguments, tiles * rows.groups, products=csr.nnz * problem.batch * problem.pixels)
        if not layout.copied:
            return LoweredLayer((call,), rows.arrays)
        return LoweredLayer(
            (emit_pack(module, layout, isa), call), rows.arrays, {layout.source: layout.scratch_elements}
        )


def _offsets(csr: Csr, layout: PaddedLayout) -> np.ndarray:
    """The element that each nonzero reads for the pixel at position 0."""
    problem = layout.problem
    inside = problem.channels // problem.groups
    filters = np.repeat(np.arange(csr.rows), csr.counts)
    channel, tap = np.divmod(csr.columns, problem.taps)
    return layout.tap_offsets()[filters // (problem.filters // problem.groups) * inside + channel, tap]


def _tails(problem: ConvProblem, epilogue: Epilogue) -> dict[str, tuple[str, int]]:
    return epilogue_buffers(epilogue, problem.batch * problem.filters * problem.pixels, problem.filters)


def _define(module: ir.Module, layout: PaddedLayout, tile: Tile, rows: SparseRows, epilogue: Epilogue, isa: Isa) -> str:
    """Add the kernel; one unit is one tile of pixels by one group of rows, groups first, so that a tile of x stays in cache."""
    problem = layout.problem
    spec = {
        layout.source: ("f32", layout.source_elements),
        **rows.spec,
        **_tails(problem, epilogue),
        "y": ("f32", problem.batch * problem.filters * problem.pixels),
    }
    digest = hashlib.sha256(f"{problem}{spec}{epilogue.tag}".encode()).hexdigest()[:8]
    name = f"f32_conv_csr_{len(tile.steps)}x{tile.lanes}_{digest}_{isa.suffix}"

    def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        with loop(begin, end) as unit:
            image, number = unit // (rows.groups * tile.count), unit // rows.groups % tile.count
            position, pixel = tile.origin(number)
            first = image * (problem.filters * problem.pixels) + pixel
            emit_rows(
                buffers,
                tile.vectors,
                tile.steps,
                source=buffers[layout.source],
                base=image * layout.image + position,
                group=unit % rows.groups,
                store=lambda row, sums: emit_store(
                    tile, sums, epilogue, buffers, element=first + row * problem.pixels, channel=row
                ),
            )

    define(module, name, spec, body)
    return name
