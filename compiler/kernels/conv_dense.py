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
        call, packed = _Product.of(given, None, epilogue, isa).lower(module, weight)
        return LoweredLayer((call,), {"weight": packed})
    window = Window.of(problem)
    copy = emit_window(module, window, isa)
    call, packed = _Product.of(given, window, epilogue, isa).lower(module, weight)
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


@dataclass(frozen=True, slots=True)
class _Product:
    """y = w x over the `window` copy of x, or over x itself: for each image and group a matrix, cut as the `grid` says."""

    given: ConvWords
    window: Window | None
    grid: Grid
    epilogue: Epilogue
    isa: Isa

    @classmethod
    def of(cls, given: ConvWords, window: Window | None, epilogue: Epilogue, isa: Isa) -> _Product:
        return cls(given, window, _plan(given.problem, isa), epilogue, isa)

    @property
    def problem(self) -> ConvProblem:
        return self.given.problem

    @property
    def filters(self) -> int:
        """Of a group."""
        return self.problem.filters // self.problem.groups

    @property
    def channel(self) -> int:
        """Elements from one channel to the next."""
        return self.problem.pixels if self.window is None else self.window.channel

    @property
    def source(self) -> str:
        """The buffer that is read."""
        return source_of(self.problem, self.isa)[0] if self.window is None else "window"

    @property
    def elements(self) -> int:
        """Of y."""
        return self.problem.batch * self.problem.filters * self.problem.pixels

    @property
    def name(self) -> str:
        """The function's: all that its code depends on."""
        problem, words = self.problem, self.given.words
        sizes = (problem.batch, problem.groups, self.filters, problem.reduction, problem.pixels)
        geometry = "" if self.window is None else f"_{problem.channels}x{self.channel}"
        return (
            f"{words.arithmetic.name}_conv_dense_{words.element}_{'x'.join(map(str, sizes))}{geometry}"
            f"_{self.grid.tag}_{self.epilogue.tag}_{self.isa.suffix}"
        )

    def lower(self, module: ir.Module, weight: NDArray[np.generic]) -> tuple[Call, NDArray[np.generic]]:
        """Add the function; also the packed weight, of [filters, words]."""
        problem, grid = self.problem, self.grid
        starts = grid.columns.starts * self.isa.lanes() if grid.turned else grid.rows.starts
        matrices = weight.reshape(problem.groups, self.filters, problem.reduction)
        packed = np.concatenate([pack_panels(matrix, starts) for matrix in matrices])
        spec = self._spec(packed.size)
        define(module, self.name, spec, lambda memory, begin, end: self._emit(module, memory, begin, end))
        extent = problem.batch * problem.groups * grid.tiles
        return Call(self.name, tuple(spec), extent, dense_products(self.given.given)), packed

    def _spec(self, packed: int) -> dict[str, tuple[str, int]]:
        """The function's buffers."""
        problem, dtype = self.problem, self.given.words.dtype
        read = {self.source: (dtype, problem.batch * problem.channels * self.channel), "weight": (dtype, packed)}
        if self.window is not None:
            read["offsets"] = ("i32", problem.reduction)
        tails = epilogue_buffers(self.epilogue, self.elements, problem.filters)
        return read | {"y": (self.epilogue.result, self.elements)} | tails

    def _emit(self, module: ir.Module, memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        grid = self.grid
        output = Output.of(
            module, self.name, self.isa, grid, self.epilogue, memory, self.problem.pixels, along_channels=False
        )
        with loop(begin, end) as unit:
            number, part = unit // grid.tiles, unit % grid.tiles
            matrix = _Matrix.of(self, memory, number)
            down, across = grid.rows.parts, grid.columns.parts
            row, column = (part % down, part // down) if _rows_first(grid) else (part // across, part % across)
            output.tile(row, column, matrix.turned_sums if grid.turned else matrix.sums, matrix.origin)


@dataclass(frozen=True, slots=True)
class _Matrix:
    """One image and one group: its x begins at element `above`, and its weight at element `panels`."""

    product: _Product
    memory: Mapping[str, Buffer]
    number: Index
    group: Index
    above: Index
    panels: Index

    @classmethod
    def of(cls, product: _Product, memory: Mapping[str, Buffer], number: Index) -> _Matrix:
        problem = product.problem
        group = number % problem.groups
        above = number * (problem.channels // problem.groups * product.channel)
        return cls(product, memory, number, group, above, group * (product.filters * problem.reduction))

    def sums(self, tile: Tile) -> list[ir.Value]:
        """Of filters x pixels."""
        words, k = self.product.given.words, self.product.problem.reduction
        base, panel = self.above + tile.column, self.panels + tile.row * k
        return multiply(
            tile,
            k,
            lambda at: words.splats(self.memory["weight"], panel + at * tile.rows, tile.rows, tile.vectors.lanes),
            lambda at: tile.load(self._x, base + self._shift(at)),
            lambda left, right, total: words.multiply_add(right, left, total),
            words.short,
        )

    def turned_sums(self, tile: Tile) -> list[ir.Value]:
        """Of pixels x filters."""
        words, k = self.product.given.words, self.product.problem.reduction
        base, panel = self.above + tile.row, self.panels + tile.column * k
        step = tile.width * tile.vectors.lanes
        return multiply(
            tile,
            k,
            lambda at: tile.splats(self._x, base + self._shift(at), 1),
            lambda at: tile.load(self.memory["weight"], panel + at * step),
            words.multiply_add,
            words.short,
        )

    def origin(self, row: Index, column: Index) -> tuple[Index, Index]:
        """The element of y, and the channel, of a place of the matrix."""
        filter_, pixel = (column, row) if self.product.grid.turned else (row, column)
        filters, pixels = self.product.filters, self.product.problem.pixels
        return (self.number * filters + filter_) * pixels + pixel, self.group * filters + filter_

    @property
    def _x(self) -> Buffer:
        return self.memory[self.product.source]

    def _shift(self, at: Index) -> Index:
        """How far behind the first word of a pixel word `at` is."""
        return at * self.product.channel if self.product.window is None else self.memory["offsets"].load_index(at)


def _rows_first(grid: Grid) -> bool:
    """True if tiles of one column should follow each other, so that the smaller operand is read again and again."""
    return grid.columns.parts * grid.rows.total <= grid.rows.parts * grid.elements
