"""Convolution with a weight of row blocks: one vector of pixels is loaded once for all filters of a block."""

from __future__ import annotations

from dataclasses import dataclass

from torch_mlir import ir

from sparsec.formats.blocked import Blocked
from sparsec.kernels.arithmetic import F32, Arithmetic
from sparsec.kernels.conv_layout import PaddedLayout
from sparsec.kernels.conv_rows import ALIGN_FROM, ConvRows, equal_groups
from sparsec.kernels.conv_words import ConvWords
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import LoweredLayer, Weight
from sparsec.kernels.pixel_tile import Tile, tiles
from sparsec.kernels.problem import ConvProblem, Problem
from sparsec.kernels.schedule import HEIGHTS, block_cycles, most_vectors


@dataclass(frozen=True, slots=True)
class ConvBlocked:
    """Any rank, stride, dilation and padding; blocks that are not full are filled up with zeros."""

    arithmetic: Arithmetic = F32
    format: str = "blocked"

    @property
    def name(self) -> str:
        return f"{self.arithmetic.name}_conv_blocked"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if (other := ConvRows.refuses(problem, self.arithmetic, isa)) is not None:
            return other
        assert isinstance(problem, ConvProblem)
        crossing = problem.groups > 1 and problem.filters // problem.groups % HEIGHTS[0]
        return f"blocks of {HEIGHTS[0]} filters cross the groups" if crossing else None

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, ConvProblem)
        assert weight is not None
        given, inside = ConvWords.of(problem, isa), problem.filters // problem.groups
        heights = [height for height in HEIGHTS if problem.groups == 1 or inside % height == 0]
        arranged = given.arrange(weight)
        encoded = [Blocked.encode(arranged, (height, given.words.group)) for height in heights]
        schedules = [_schedule(self, given.problem, blocked, isa) for blocked in encoded]
        _, schedule, blocked = min(schedules, key=lambda found: found[0])
        return given.convert(module, schedule.lower(module, blocked, epilogue, isa), isa)


def tile_vectors(height: int, isa: Isa, arithmetic: Arithmetic) -> int:
    """Vectors of the widest tile for blocks of so many rows.

    Where a product takes its weight from any lane, the weights of a block are in one register, and vectors of x come and go:
    the others are sums. Cortex-A55 takes a quarter less time for 28 sums than for 16, by llvm-mca; larger processors the same.
    """
    if arithmetic is F32 and isa.short_queue:
        return (isa.registers - 4) // height
    return most_vectors(height, isa)


def _schedule(kernel: ConvBlocked, problem: ConvProblem, blocked: Blocked, isa: Isa) -> tuple[float, ConvRows, Blocked]:
    """The best schedule for blocks of this shape, and its cycles."""
    height = blocked.block[0]
    layout = PaddedLayout.of(problem, isa, aligned=blocked.blocks * height >= ALIGN_FROM * problem.channels)
    found = tiles(layout, isa, most=tile_vectors(height, isa, kernel.arithmetic))
    tile = min(found, key=lambda tile: _cycles(tile, blocked))
    groups = equal_groups(blocked.counts, problem.batch * tile.count)
    return _cycles(tile, blocked), ConvRows(kernel.name, layout, tile, height, groups), blocked


def _cycles(tile: Tile, blocked: Blocked) -> float:
    """The multiply-adds, and the stores of each row: one store and one shuffle a cycle."""
    stores = len(blocked.counts) * (blocked.block[0] * (1.5 * len(tile.pieces) + tile.moved) + 12)
    return tile.count * (block_cycles(blocked.block[0], blocked.blocks, len(tile.steps), 1) + stores)
