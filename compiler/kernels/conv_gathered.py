"""Convolution of bytes whose nonzeros are alone, or stand in columns of blocks: words of any four columns.

x is copied to rows of bytes, one for each (channel, tap) of a tile of four vectors of pixels, in the order in which
`GatheredRows` makes words of any four of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch_mlir import ir
from torch_mlir.dialects import vector

from sparsec.formats.blocked import Blocked
from sparsec.kernels.arithmetic import U8S8
from sparsec.kernels.byte_rows import GROUP, ROWS
from sparsec.kernels.emit import Buffer, Vectors, define, epilogue_buffers, finish, local, loop, shuffle
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.gathered_rows import GatheredRows
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.linear_gathered import HEIGHTS, block_cycles
from sparsec.kernels.pixel_columns import Columns, PixelTiles
from sparsec.kernels.problem import ConvProblem, Problem
from sparsec.kernels.row_groups import RowGroups
from sparsec.kernels.row_tile import Held, RowTile
from sparsec.kernels.words import LEAST_LANES, refusal, words_of

CHANNELS = 16  # that one unit of the copy copies


@dataclass(frozen=True, slots=True)
class ConvGathered:
    """Convolutions without groups that have as many pixels as samples, on what multiplies words of four bytes."""

    name: str = "u8s8_conv_gathered"
    format: str = "blocked"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if not isinstance(problem, ConvProblem):
            return "only convolutions"
        if (other := refusal(problem.arithmetic, U8S8, isa)) is not None:
            return other
        words = words_of(U8S8, isa)
        if words is None or words.group != GROUP:
            return f"{isa.suffix} has no instruction for words of four bytes"
        if problem.groups > 1:
            return "only one group of channels"
        if any(axis.stride > 1 or axis.out != axis.size for axis in problem.axes):
            return "only as many pixels as samples"
        return f"fewer than {LEAST_LANES} pixels" if problem.pixels < LEAST_LANES else None

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, ConvProblem)
        assert weight is not None
        words = words_of(U8S8, isa)
        assert words is not None
        tiles = PixelTiles.of(problem.pixels, isa, most=GROUP)
        vectors, number = problem.batch * tiles.split.total, problem.batch * tiles.count
        found = (Blocked.encode(weight, (height, 1)) for height in HEIGHTS)
        blocked = min(found, key=lambda each: block_cycles(each.block[0], each.blocks, vectors, number, isa))
        groups = RowGroups.of(blocked.counts, problem.filters, blocked.block[0])
        packed = GatheredRows.pack(blocked, groups, words, pitch=GROUP * tiles.lanes)
        columns = Columns(problem, tiles, None, "x", words)
        schedule = _Schedule(self.name, columns, groups, packed)
        products = blocked.values.size * problem.batch * problem.pixels
        calls = (schedule.copy(module, isa), schedule.multiply(module, epilogue, isa, products))
        weights = {**columns.weights, **packed.arrays, **groups.arrays}
        return LoweredLayer(calls, weights, {ROWS: ("i8", schedule.bytes)})


@dataclass(frozen=True, slots=True)
class _Schedule:
    """Tiles of pixels by groups of filters; x as rows [images][tiles][columns of a filter][pitch] of bytes."""

    kernel: str
    columns: Columns
    groups: RowGroups
    packed: GatheredRows

    @property
    def problem(self) -> ConvProblem:
        return self.columns.problem

    @property
    def tiles(self) -> PixelTiles:
        return self.columns.tiles

    @property
    def pitch(self) -> int:
        """Bytes of a row: four vectors, of which the last tiles may use fewer."""
        return GROUP * self.tiles.lanes

    @property
    def bytes(self) -> int:
        """Bytes of all rows."""
        return self.problem.batch * self.tiles.count * self.problem.reduction * self.pitch

    def copy(self, module: ir.Module, isa: Isa) -> Call:
        """Add the function that makes the rows; a unit is some channels of a tile."""
        problem, tiles, columns = self.problem, self.tiles, self.columns
        parts = -(-problem.channels // CHANNELS)
        spec = {
            **columns.spec,
            "x": ("i8", problem.batch * problem.channels * problem.pixels),
            ROWS: ("i8", self.bytes),
        }
        digest = hashlib.sha256(f"{replace(problem, filters=1)}{tiles}".encode()).hexdigest()[:8]
        name = f"u8_byte_rows_of_pixels_{digest}_{isa.suffix}"

        def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            with loop(begin, end) as unit:
                first, number = unit % parts * CHANNELS, unit // parts
                tile, image = number % tiles.count, number // tiles.count
                behind = minimum(first + CHANNELS, problem.channels)

                def fill(count: int) -> None:
                    places = tiles.places(tile, count)
                    with loop(0, problem.taps) as tap:
                        masks = [columns.mask(buffers, tap, place) for place in places]
                        base = image * (problem.channels * problem.pixels) + columns.shift(buffers, tap)
                        with loop(first, behind) as channel:
                            source = base + channel * problem.pixels
                            row = (number * problem.channels + channel) * problem.taps + tap
                            narrow = Vectors(tiles.lanes, "i8")
                            read = [
                                columns.words.shifted(
                                    narrow.load(buffers["x"], source + place, mask, problem.pad_value)
                                )
                                for place, mask in zip(places, masks, strict=True)
                            ]
                            Vectors(self.pitch, "i8").store(_dealt(read), buffers[ROWS], row * self.pitch)

                tiles.split.each_length(tile, fill)

        define(module, name, spec, body)
        return Call(name, tuple(spec), problem.batch * tiles.count * parts, self.bytes)

    def multiply(self, module: ir.Module, epilogue: Epilogue, isa: Isa, products: int) -> Call:
        """Add the kernel; a unit is one group of filters of a tile."""
        problem, tiles, groups = self.problem, self.tiles, self.groups
        elements = problem.batch * problem.filters * problem.pixels
        spec = {
            ROWS: ("i8", self.bytes),
            **self.packed.spec,
            **{name: ("i32", len(array)) for name, array in groups.arrays.items()},
            **epilogue_buffers(epilogue, elements, problem.filters),
            "y": (epilogue.result, elements),
        }
        shape = f"{problem}{tiles}{groups.most}{self.packed.tag}{spec}{epilogue.tag}"
        digest = hashlib.sha256(shape.encode()).hexdigest()[:8]
        name = f"{self.kernel}_{groups.height}x{tiles.width}_{digest}_{isa.suffix}"

        def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            sums = local("i32", groups.most * tiles.width)
            with loop(begin, end) as unit:
                number = unit // groups.parts
                group = buffers["groups.order"].load_index(unit % groups.parts)
                tiles.split.each_length(
                    number % tiles.count, lambda count: self._tile(buffers, sums, epilogue, number, group, count)
                )

        define(module, name, spec, body)
        return Call(name, tuple(spec), problem.batch * tiles.count * groups.parts, products)

    def _tile(
        self, buffers: Mapping[str, Buffer], sums: Buffer, epilogue: Epilogue, number: Index, group: Index, count: int
    ) -> None:
        """One group of filters of tile `number` of all images, which has so many vectors."""
        problem, tiles = self.problem, self.tiles
        vectors = Vectors(tiles.lanes, "i32")
        held = Held(sums, vectors, 1, count, tiles.width)
        base = number * (problem.reduction * self.pitch)
        self.packed.emit(buffers, RowTile(held, buffers[ROWS], base, group, self.columns.words))
        first, behind = (buffers["groups.bounds"].load_index(group + i) for i in (0, 1))
        tile, image = number % tiles.count, number // tiles.count
        with loop(first, behind) as row:

            def put(which: Index, place: Index, lanes: int, row: Index = row) -> None:
                wide, at = Vectors(lanes, "i32"), (image * problem.filters + row) * problem.pixels + place
                total = wide.load(sums, (row - first) * tiles.width + which * tiles.lanes)
                value = finish(wide, epilogue, buffers, total, element=at, channel=row)
                wide.store(value, buffers["y"], at)

            tiles.each(tile, count, put)


def _dealt(read: Sequence[ir.Value]) -> ir.Value:
    """Up to four vectors of pixels as one row: of every 16 bytes, four pixels of each."""
    lanes = ir.VectorType(read[0].type).shape[0]
    filled = [*read, *[Vectors(lanes, "i8").splat(0)] * (GROUP - len(read))]
    halves = [shuffle(low, high, range(2 * lanes)) for low, high in zip(filled[::2], filled[1::2], strict=True)]
    row = vector.bitcast(Vectors(lanes, "i32").type, shuffle(halves[0], halves[1], range(4 * lanes)))
    quarter = lanes // GROUP
    dealt = shuffle(row, row, [number * quarter + part for part in range(quarter) for number in range(GROUP)])
    return vector.bitcast(Vectors(GROUP * lanes, "i8").type, dealt)
