"""Convolution with an unstructured sparse weight: a broadcast per nonzero, and an FMA for each vector of pixels.

For kernels of 1x1 that is the SpMM of Elsen et al., "Fast Sparse ConvNets" (CVPR 2020); larger ones are sums over taps, each of
which reads the input at a constant offset (the direct sparse convolution of Park et al., ICLR 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch_mlir import ir

from sparsec.formats.blocked import Blocked
from sparsec.kernels.arithmetic import F32, Arithmetic
from sparsec.kernels.conv_columns import ConvColumns
from sparsec.kernels.conv_layout import PaddedLayout
from sparsec.kernels.conv_rows import ALIGN_FROM, ConvRows, equal_groups
from sparsec.kernels.conv_words import ConvWords
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import LoweredLayer, Weight
from sparsec.kernels.pixel_tile import plan
from sparsec.kernels.problem import ConvProblem, Problem

LOAD, CROSSING, FAR, COPY = (
    0.62,
    0.7,
    0.55,
    4.0,
)  # cycles of a load from L1; more across cache lines; more from L2; of a vector copied
L1_BYTES = 32 << 10


@dataclass(frozen=True, slots=True)
class ConvCsr:
    """Any rank, stride, dilation, padding and grouping.

    Rows read x, or a padded copy of it, where it lies; or tiles of it that are gathered first, which is faster if each
    column is used often.
    """

    arithmetic: Arithmetic = F32
    format: str = "csr"

    @property
    def name(self) -> str:
        return f"{self.arithmetic.name}_conv_csr"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        return ConvRows.refuses(problem, self.arithmetic, isa)

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, ConvProblem)
        assert weight is not None
        given = ConvWords.of(problem, isa)
        rows = Blocked.encode(given.arrange(weight), (1, given.words.group))
        gathered = ConvColumns.of(self.name, given.problem, rows, isa)
        in_place = _in_place(self.name, given.problem, rows, isa)
        if gathered is not None and gathered.cycles(rows) < _cycles(in_place, rows):
            layer = gathered.lower(module, epilogue, isa, products=rows.values.size * problem.batch * problem.pixels)
        else:
            layer = in_place.lower(module, rows, epilogue, isa)
        return given.convert(module, layer, isa)


def _in_place(name: str, problem: ConvProblem, rows: Blocked, isa: Isa) -> ConvRows:
    """Tiles as wide as registers allow: a row is started once per tile."""
    layout = PaddedLayout.of(problem, isa, aligned=rows.blocks >= ALIGN_FROM * problem.channels)
    tile = plan(layout, isa, most=min(isa.row_vectors, 14), work=rows.blocks / max(problem.filters, 1))
    return ConvRows(name, layout, tile, 1, equal_groups(rows.counts, problem.batch * tile.count))


def _cycles(schedule: ConvRows, rows: Blocked) -> float:
    """Estimated cycles in place: loads come from where the tile's part of x fits, and may cross cache lines."""
    layout, tile, problem = schedule.layout, schedule.tile, schedule.layout.problem
    vectors, taps = len(tile.steps), problem.taps
    near = problem.channels // problem.groups * 4 * tile.lanes * vectors * (1 if taps == 1 else 2) / L1_BYTES
    crossing = CROSSING if taps > 1 or layout.channel * 4 % 64 else 0.0
    load = LOAD + max(crossing, FAR * min(1.0, max(0.0, (near - 1) / 2)))
    stores = problem.filters * (1.5 * len(tile.pieces) + tile.moved + 12)
    copied = COPY * layout.scratch_elements / tile.lanes
    return problem.batch * tile.count * (rows.blocks * (vectors + 1) * load + stores) + copied
