"""Convolution with dense weights: weights of filters are broadcast, vectors lie along output pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.dense import pack_panels
from sparsec.kernels.arithmetic import F32, Arithmetic
from sparsec.kernels.conv_window import Window, emit_window
from sparsec.kernels.conv_words import ConvWords
from sparsec.kernels.emit import Buffer, define, epilogue_buffers, loop
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.linear_dense import LinearDense
from sparsec.kernels.pack_words import source_of
from sparsec.kernels.problem import ConvProblem, LinearProblem, Problem, dense_products
from sparsec.kernels.store import Output
from sparsec.kernels.tile import PAGE, Grid, Tile, multiply
from sparsec.kernels.words import refusal


@dataclass(frozen=True, slots=True)
class ConvDense:
    """A product over x itself (pointwise) or over its `Window` copy; a unit is one register tile."""

    arithmetic: Arithmetic = F32
    format: str = "dense"

    @property
    def name(self) -> str:
        return f"{self.arithmetic.name}_conv_dense"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if not isinstance(problem, ConvProblem):
            return "not a convolution"
        if (other := refusal(problem.arithmetic, self.arithmetic, isa)) is not None:
            return other
        if not problem.pointwise and Window.of(problem).elements >= 2**31:
            return "its input copy has more than 2^31 elements"
        return None

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, ConvProblem)
        assert weight is not None
        if not problem.batch or not problem.filters or not problem.pixels:
            return LoweredLayer(())
        linear = as_linear(problem)
        if linear is not None:
            return LinearDense(self.arithmetic).lower(module, linear, weight, epilogue, isa)
        given = ConvWords.of(problem, isa)
        return given.convert(module, _layer(module, given, given.encode(weight), epilogue, isa), isa)


def _layer(
    module: ir.Module, given: ConvWords, weight: NDArray[np.generic], epilogue: Epilogue, isa: Isa
) -> LoweredLayer:
    """The convolution of words, [filters, words] of `weight`."""
    problem = given.problem
    if not problem.reduction or (problem.pointwise and not _clashes(problem, isa)):
        call, packed = _product(module, given, None, weight, epilogue, isa)
        return LoweredLayer((call,), {"weight": packed})
    window = Window.of(problem)
    copy = emit_window(module, window, isa)
    call, packed = _product(module, given, window, weight, epilogue, isa)
    weights = {"weight": packed, "offsets": window.offsets(), "planes": window.table()}
    return LoweredLayer((copy, call), weights, {"window": (given.words.dtype, window.elements)})


def _clashes(problem: ConvProblem, isa: Isa) -> bool:
    """True if the channels of x lie whole pages apart, so in one cache set, and are read often enough to be copied.

    64-byte vectors compute long enough on each line to hide that it comes from the level-2 cache (measured).
    """
    if isa.vector_bytes >= 64:
        return False
    inside = problem.channels // problem.groups
    return problem.pixels % PAGE == 0 and inside >= 32 and problem.filters // problem.groups >= 32


def as_linear(problem: ConvProblem) -> LinearProblem | None:
    """The linear layer that equals a convolution whose one window per image is the whole image."""
    whole = all(a.kernel == a.size and (a.before, a.after) == (0, 0) for a in problem.axes)
    if not whole or problem.groups != 1:
        return None
    return LinearProblem(problem.batch, problem.reduction, problem.filters, problem.arithmetic)


def _plan(problem: ConvProblem, isa: Isa) -> Grid:
    """Filters x pixels; or pixels x filters (`turned`) where pixels would leave too many lanes empty."""
    filters, k, pixels = problem.filters // problem.groups, problem.reduction, problem.pixels
    total = problem.arithmetic.total
    usual = Grid.plan(isa, filters, pixels, k, total=total)
    if filters % isa.lanes():
        return usual
    return min(usual, Grid.plan(isa, pixels, filters, k, turned=True, total=total), key=lambda grid: grid.cycles(k))


def _product(
    module: ir.Module,
    given: ConvWords,
    window: Window | None,
    weight: NDArray[np.generic],
    epilogue: Epilogue,
    isa: Isa,
) -> tuple[Call, NDArray[np.generic]]:
    """Add y = w x over the window copy, or over x itself; also the packed weights."""
    problem, words = given.problem, given.words
    filters, k, pixels = problem.filters // problem.groups, problem.reduction, problem.pixels
    grid = _plan(problem, isa)
    starts = grid.columns.starts * isa.lanes() if grid.turned else grid.rows.starts
    packed = np.concatenate([pack_panels(matrix, starts) for matrix in weight.reshape(problem.groups, filters, k)])
    channel = pixels if window is None else window.channel
    source, group_step = (
        (source_of(problem, isa)[0] if window is None else "window"),
        problem.channels // problem.groups * channel,
    )
    elements = problem.batch * problem.filters * pixels
    buffers = {source: (words.dtype, problem.batch * problem.channels * channel), "weight": (words.dtype, packed.size)}
    if window is not None:
        buffers["offsets"] = ("i32", k)
    buffers |= {"y": (epilogue.result, elements)} | epilogue_buffers(epilogue, elements, problem.filters)
    shape = "x".join(map(str, (problem.batch, problem.groups, filters, k, pixels)))
    geometry = "" if window is None else f"_{problem.channels}x{channel}"
    name = (
        f"{words.arithmetic.name}_conv_dense_{words.element}_{shape}{geometry}_{grid.tag}_{epilogue.tag}_{isa.suffix}"
    )
    rows_first = _rows_first(grid)

    def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        output = Output.of(module, name, isa, grid, epilogue, memory, pixels, along_channels=False)
        x, weights = memory[source], memory["weight"]
        with loop(begin, end) as unit:
            matrix, part = unit // grid.tiles, unit % grid.tiles  # matrix: (image, group)
            group = matrix % problem.groups
            above, panels = matrix * group_step, group * (filters * k)

            def shift(at: Index) -> Index:
                return at * channel if window is None else memory["offsets"].load_index(at)

            def sums(tile: Tile) -> list[ir.Value]:
                base, panel = above + tile.column, panels + tile.row * k
                return multiply(
                    tile,
                    k,
                    lambda at: words.splats(weights, panel + at * tile.rows, tile.rows, tile.vectors.lanes),
                    lambda at: tile.load(x, base + shift(at)),
                    lambda left, right, total: words.multiply_add(right, left, total),
                    words.short,
                )

            def turned_sums(tile: Tile) -> list[ir.Value]:
                base, panel = above + tile.row, panels + tile.column * k
                step = tile.width * tile.vectors.lanes
                return multiply(
                    tile,
                    k,
                    lambda at: tile.splats(x, base + shift(at), 1),
                    lambda at: tile.load(weights, panel + at * step),
                    words.multiply_add,
                    words.short,
                )

            def origin(row: Index, column: Index) -> tuple[Index, Index]:
                filter_, pixel = (column, row) if grid.turned else (row, column)
                return (matrix * filters + filter_) * pixels + pixel, group * filters + filter_

            across = grid.columns.parts
            row, column = (
                (part % grid.rows.parts, part // grid.rows.parts) if rows_first else (part // across, part % across)
            )
            output.tile(row, column, turned_sums if grid.turned else sums, origin)

    define(module, name, buffers, body)
    extent = problem.batch * problem.groups * grid.tiles
    return Call(name, tuple(buffers), extent, dense_products(given.given)), packed


def _rows_first(grid: Grid) -> bool:
    """True if tiles of one column should follow each other, so that the smaller operand is read again and again."""
    return grid.columns.parts * grid.rows.total <= grid.rows.parts * grid.elements
