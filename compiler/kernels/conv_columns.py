"""Convolution with an unstructured sparse weight as a product over columns: all (channel, tap) pairs of a filter.

A tile of pixels is gathered block of columns by block into a small aligned buffer, which then stays in L1 while all
filters walk over it. That costs one load and one store per vector and column, which each further use of it saves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.blocked import Blocked
from sparsec.kernels.conv_window import emit_window
from sparsec.kernels.counted_rows import OFFSETS, CountedRows, Runs, WordRuns, step_of
from sparsec.kernels.emit import Buffer, Vectors, define, epilogue_buffers, finish, local, loop
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer
from sparsec.kernels.linear_rows import own_name
from sparsec.kernels.pixel_columns import Columns, PixelTiles, tile_vectors
from sparsec.kernels.problem import ConvProblem
from sparsec.kernels.row_tile import Held, RowTile
from sparsec.kernels.sparse_rows import ROW_COST
from sparsec.kernels.store import is_long
from sparsec.kernels.words import Words

BLOCK_BYTES = 48 << 10  # so much of x in L1 at a time
HELD_ROWS = 512  # whose sums are on the stack at once
GATHER, FAR_GATHER = 2.5, 4.0  # cycles per vector, of images that fit L2 and of larger ones
L2_BYTES = 1 << 20
UNITS = 4  # enough to share among threads
REPEATS = 2  # groups of rows that each gather their tile; for more it is gathered once, to memory


# Of the bounds of groups of filters and the columns of a block: the parts of a weight, single rows first.
Divide = Callable[[NDArray[np.int64], int], Sequence[Runs]]


@dataclass(frozen=True, slots=True)
class ConvColumns:
    """The schedule: tiles of pixels by groups of neighbouring filters, `bounds[g]` ... `bounds[g + 1]`.

    The weight is the sum of `counted` and of what is `beside`. If `shared`, columns are gathered by a call of their own.
    """

    kernel: str
    columns: Columns
    bounds: NDArray[np.int64]
    counted: CountedRows
    shared: bool
    beside: tuple[CountedRows, ...] = ()

    @classmethod
    def of(
        cls,
        kernel: str,
        problem: ConvProblem,
        weight: Blocked,
        isa: Isa,
        *,
        most: int | None = None,
        divide: Divide | None = None,
    ) -> ConvColumns | None:
        """For a weight in words of single rows, or as `divide` divides it; for tiles of `most` vectors, if that is given.

        None if the columns of a channel are too many for 16-bit offsets, or if there is nothing to compute.
        """
        tiles = PixelTiles.of(problem.pixels, isa, most=most or tile_vectors(isa))
        if not weight.blocks or problem.taps * tiles.width > OFFSETS:
            return None
        columns = Columns.of(problem, tiles, isa)
        inside = problem.filters // problem.groups
        together = problem.batch * tiles.count * problem.groups  # units if filters are one group
        shared = -(-UNITS // together) > REPEATS
        parts = -(-UNITS * (2 if shared else 1) // together)
        parts = min(max(parts, -(-inside // HELD_ROWS)), inside)
        bounds = np.concatenate(
            [
                *(_cuts(weight.counts, first, inside, parts) for first in range(0, problem.filters, inside)),
                [problem.filters],
            ]
        )
        channels = max(1, min(BLOCK_BYTES // (4 * tiles.width * max(problem.taps, 1)), columns.inside))
        block = max(channels * problem.taps, 1)
        step, early = step_of(isa), isa.short_queue
        divided = (WordRuns.of(weight, columns.words),) if divide is None else divide(bounds, block)
        counted, *beside = (
            CountedRows.pack(runs, bounds, columns=block, width=tiles.width, whole=not i, step=step, early=early)
            for i, runs in enumerate(divided)
        )
        return cls(kernel, columns, bounds, counted, shared, tuple(beside))

    def cycles(self, weight: Blocked) -> float:
        """Estimated cycles: gathering, a broadcast and multiply-adds per nonzero, and what each visit to a block costs."""
        vectors, tiles = self.problem.batch * self.tiles.split.total, self.problem.batch * self.tiles.count
        repeats = 1 if self.shared else self.groups // self.problem.groups
        near = 4 * self.problem.channels * self.columns.channel <= L2_BYTES
        gathered = (GATHER if near else FAR_GATHER) * self.problem.groups * self.problem.reduction * vectors * repeats
        visits = weight.rows * self.counted.blocks
        return gathered + weight.blocks * (0.52 * vectors + 0.65 * tiles) + visits * (6 * tiles + 1.5 * vectors)

    @property
    def problem(self) -> ConvProblem:
        return self.columns.problem

    @property
    def tiles(self) -> PixelTiles:
        return self.columns.tiles

    @property
    def words(self) -> Words:
        return self.columns.words

    @property
    def _parts(self) -> tuple[CountedRows, ...]:
        """All parts of the weight."""
        return self.counted, *self.beside

    @property
    def groups(self) -> int:
        """Groups of filters."""
        return len(self.bounds) - 1

    @property
    def longest(self) -> int:
        """Filters of the longest group."""
        return int(np.diff(self.bounds).max())

    def lower(self, module: ir.Module, epilogue: Epilogue, isa: Isa, *, products: int) -> LoweredLayer:
        """Add the kernel, and the copies of x that it needs."""
        problem, elements = self.problem, self.problem.batch * self.problem.filters * self.problem.pixels
        spec = {
            **({"columns": (self.words.dtype, self._gathered)} if self.shared else self.columns.spec),
            **{own_name(i, name): kind for i, part in enumerate(self._parts) for name, kind in part.spec.items()},
            "rows": ("i32", len(self.bounds)),
            **epilogue_buffers(epilogue, elements, problem.filters),
            "y": (epilogue.result, elements),
        }
        packed = {own_name(i, name): array for i, part in enumerate(self._parts) for name, array in part.arrays.items()}
        weights = {**self.columns.weights, **packed, "rows": self.bounds.astype(np.int32)}
        units = problem.batch * self.tiles.count * self.groups
        calls = [Call(self._define(module, spec, epilogue, isa), tuple(spec), units, products)]
        scratch = {}
        if self.shared:
            calls.insert(0, self._gather(module, isa))
            scratch["columns"] = (self.words.dtype, self._gathered)
        if self.columns.window is not None:
            calls.insert(0, emit_window(module, self.columns.window, isa))
            scratch["window"] = (self.words.dtype, self.columns.window.elements)
        return LoweredLayer(tuple(calls), weights, scratch)

    @property
    def _gathered(self) -> int:
        """Elements of all columns: [images][groups][tiles][columns of a filter][width]."""
        return self.problem.batch * self.problem.groups * self.tiles.count * self.problem.reduction * self.tiles.width

    def _gather(self, module: ir.Module, isa: Isa) -> Call:
        """Add the function that gathers all columns; a unit is one block of columns of a tile."""
        problem, tiles, counted = self.problem, self.tiles, self.counted
        units = problem.batch * problem.groups * tiles.count * counted.blocks
        spec = {**self.columns.spec, "columns": (self.words.dtype, self._gathered)}
        name = self._name(f"{problem.arithmetic.name}_gather", spec, isa)

        def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            with loop(begin, end) as unit:
                block, number = unit % counted.blocks, unit // counted.blocks
                at = (number * problem.reduction + block * counted.columns) * tiles.width
                tile, matrix = number % tiles.count, number // tiles.count

                def copy(count: int) -> None:
                    places = tiles.places(tile, count)
                    self.columns.gather(buffers, buffers["columns"], at, matrix, places, self._channels(block))

                tiles.split.each_length(tile, copy)

        define(module, name, spec, body)
        return Call(name, tuple(spec), units, self._gathered // 4)

    def _channels(self, block: Index) -> tuple[Index, Index]:
        """The channels [first, behind) of a block of columns."""
        channels = self.counted.columns // max(self.problem.taps, 1)
        return block * channels, minimum((block + 1) * channels, self.columns.inside)

    def _name(self, start: str, spec: Mapping[str, tuple[str, int]], isa: Isa, tag: str = "") -> str:
        shape = f"{self.problem}{self.tiles}{self.longest}{[part.tag for part in self._parts]}{self.shared}{spec}{tag}"
        return f"{start}_{self.tiles.width}_{hashlib.sha256(shape.encode()).hexdigest()[:8]}_{isa.suffix}"

    def _define(self, module: ir.Module, spec: Mapping[str, tuple[str, int]], epilogue: Epilogue, isa: Isa) -> str:
        """Add the kernel; a unit is one group of filters of a tile of pixels."""
        name = self._name(self.kernel, spec, isa, epilogue.tag)

        def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            sums = local(self.words.arithmetic.total, self.longest * self.tiles.width)
            near = local(self.words.dtype, 1 if self.shared else self.counted.columns * self.tiles.width)
            with loop(begin, end) as unit:
                group, number = unit % self.groups, unit // self.groups
                tile, image = number % self.tiles.count, number // self.tiles.count
                self.tiles.split.each_length(
                    tile, lambda count: self._tile(buffers, epilogue, (sums, near), image, tile, group, count)
                )

        define(module, name, spec, body)
        return name

    def _tile(
        self,
        buffers: Mapping[str, Buffer],
        epilogue: Epilogue,
        memory: tuple[Buffer, Buffer],
        image: Index,
        tile: Index,
        group: Index,
        count: int,
    ) -> None:
        """One group of filters of a tile of `count` vectors."""
        problem, tiles, (sums, near) = self.problem, self.tiles, memory
        matrix = image * problem.groups + group // (self.groups // problem.groups)
        places = tiles.places(tile, count)
        held = Held(sums, Vectors(tiles.lanes, sums.dtype), 1, count, tiles.width)
        first = buffers["rows"].load_index(group)
        filters = image * problem.filters + first

        def load(block: Index) -> Index:
            if self.shared:
                return (matrix * tiles.count + tile) * (problem.reduction * tiles.width) + block * (
                    self.counted.columns * tiles.width
                )
            self.columns.gather(buffers, near, Index(0), matrix, places, self._channels(block))
            return Index(0)

        def store(row: Index, totals: list[ir.Value]) -> None:
            for value, place in zip(totals, places, strict=True):
                at = (filters + row) * problem.pixels + place
                total = finish(held.vectors, epilogue, buffers, value, element=at, channel=first + row)
                held.vectors.store(total, buffers["y"], at)

        source, later = buffers["columns"] if self.shared else near, is_long(epilogue)
        walked = RowTile(held, source, Index(0), group, self.words)
        beside = [
            (part, {name: buffers[own_name(i, name)] for name in part.arrays})
            for i, part in enumerate(self.beside, start=1)
        ]
        if beside:
            held.clear(buffers["rows"].load_index(group + 1) - first)
        self.counted.emit_whole(buffers, walked, load, None if later else store, beside)
        if not later:
            return

        with loop(0, buffers["rows"].load_index(group + 1) - first) as row:

            def put(number: Index, place: Index, lanes: int, row: Index = row) -> None:
                vectors, at = Vectors(lanes, sums.dtype), (filters + row) * problem.pixels + place
                total = vectors.load(sums, row * tiles.width + number * tiles.lanes)
                value = finish(vectors, epilogue, buffers, total, element=at, channel=first + row)
                vectors.store(value, buffers["y"], at)

            tiles.each(tile, count, put)


def _cuts(counts: NDArray[np.int32], first: int, rows: int, parts: int) -> NDArray[np.int64]:
    """The first rows of `parts` runs of about equal work, of the `rows` rows from `first` on."""
    total = np.cumsum(counts[first : first + rows] + ROW_COST)
    cuts = first + np.searchsorted(total, np.arange(parts) / parts * total[-1])
    least = first + np.arange(parts)
    bounded: NDArray[np.int64] = np.minimum(np.maximum(cuts, least), least + rows - parts).astype(np.int64)
    return bounded
