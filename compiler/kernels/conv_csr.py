"""Convolution with an unstructured sparse weight: a broadcast per nonzero, and an FMA for each vector of pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch_mlir import ir

from sparsec.formats.csr import Csr
from sparsec.kernels.arithmetic import F32
from sparsec.kernels.conv_layout import PaddedLayout
from sparsec.kernels.conv_rows import ALIGN_FROM, ConvRows, equal_groups
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import LoweredLayer, Weight
from sparsec.kernels.pixel_tile import Tile, plan, tiles
from sparsec.kernels.problem import ConvProblem, Problem
from sparsec.kernels.words import refusal

BLOCK_BYTES = 32 << 10  # so much of x in L1 at a time
HELD_BYTES = 16 << 10  # so much of y beside it


@dataclass(frozen=True, slots=True)
class ConvCsr:
    """Any rank, stride, dilation, padding and grouping; the input may be copied first, padded and aligned."""

    name: str = "f32_conv_csr"
    format: str = "csr"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if not isinstance(problem, ConvProblem):
            return "only convolutions"
        if (other := refusal(problem.arithmetic, F32, isa)) is not None:
            return other
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
        return _schedule(self.name, csr, layout, isa).lower(module, csr, epilogue, isa)


def _schedule(name: str, csr: Csr, layout: PaddedLayout, isa: Isa) -> ConvRows:
    """Rows in blocks of columns if that is estimated to be faster."""
    problem, work = layout.problem, csr.nnz / layout.problem.filters
    most = min(isa.registers - 4, 14)
    wide = plan(layout, isa, most=most, work=work)
    narrow = min(tiles(layout, isa, most=most), key=lambda tile: _blocked_cycles(tile, layout, work))
    if _blocked_cycles(narrow, layout, work) < _plain_cycles(wide, layout, work):
        order = np.argsort(-csr.counts, kind="stable")
        count = -(-problem.filters * len(narrow.steps) * 4 * narrow.lanes // HELD_BYTES)
        dealt = tuple(order[first::count] for first in range(count))
        return ConvRows(name, layout, narrow, 1, dealt, _block_columns(narrow, layout))
    return ConvRows(name, layout, wide, 1, equal_groups(csr.counts, problem.batch * wide.count), None)


def _block_columns(tile: Tile, layout: PaddedLayout) -> int:
    """Columns whose part of x fits L1: whole channels."""
    taps = layout.problem.taps
    return max(1, BLOCK_BYTES // _channel_bytes(tile, layout)) * taps


def _channel_bytes(tile: Tile, layout: PaddedLayout) -> int:
    """What a tile reads of one channel, roughly twice its own size if it reads a window."""
    return 4 * tile.lanes * len(tile.steps) * (1 if layout.problem.taps == 1 else 2)


def _blocked_cycles(tile: Tile, layout: PaddedLayout, work: float) -> float:
    """Cycles of one row over all pixels: loads from L1, and per block a loop and the sums from and to memory."""
    if layout.alignment > 1 and tile.count > 2 and layout.problem.pixels % tile.lanes:
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
