"""The register tile: the inner loop of every dense kernel.

An output matrix [rows, columns] is cut into tiles of a few rows and a few vectors of columns. A tile's sums stay in registers over
the whole reduction; each step reads one vector per column vector and one broadcast element per row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch_mlir import ir

from sparsec.kernels.emit import (
    Buffer,
    Index,
    IndexLike,
    Split,
    Vectors,
    add,
    as_index,
    carry,
    choose,
    finish,
    fma,
    local,
    loop,
    minimum,
)
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa

# Independent sums needed to hide the latency of a fused multiply-add (4 cycles, 2 a cycle, on current x86 cores).
CHAINS = 8
# An epilogue with more operations than this is built once per column vector, in a loop over the rows of the tile, to keep code small.
LONG_EPILOGUE = 6


@dataclass(frozen=True, slots=True)
class Tile:
    """Rows [row, row + rows) and `width` vectors of columns from element `column` on; `mask` guards the last vector."""

    vectors: Vectors
    rows: int
    width: int
    row: Index
    column: Index
    mask: ir.Value | None
    full: ir.Value | None  # true if the mask leaves nothing out

    def mask_of(self, v: int) -> ir.Value | None:
        """The mask of column vector `v`."""
        return self.mask if v == self.width - 1 else None

    def load(self, source: Buffer, at: Index) -> list[ir.Value]:
        """The tile's column vectors from element `at` on; columns outside the matrix are not read."""
        lanes = self.vectors.lanes
        return [self.vectors.load(source, at + v * lanes, self.mask_of(v)) for v in range(self.width)]


@dataclass(frozen=True, slots=True)
class Grid:
    """How an output matrix of `rows.total` rows and `elements` columns is cut; `columns` counts vectors."""

    vectors: Vectors
    rows: Split
    columns: Split
    elements: int

    @classmethod
    def plan(cls, isa: Isa, rows: int, columns: int, reduction: int) -> Grid:
        """The tiling with the fewest estimated cycles among those whose sums fit the registers."""
        vectors = Vectors(isa.lanes())
        wide = -(-columns // vectors.lanes)
        fitting = [
            (r, w)
            for w in range(1, min(wide, 8) + 1)
            for r in range(1, min(rows, 28) + 1)
            if r * w + w + 1 <= isa.registers - (isa.registers >= 32)
        ]
        r, w = min(fitting, key=lambda tile: (_cycles(rows, wide, *tile, reduction), -tile[0]), default=(1, 1))
        return cls(vectors, Split.by(rows, r), Split.by(wide, w), columns)

    @property
    def tiles(self) -> int:
        return self.rows.parts * self.columns.parts

    @property
    def largest(self) -> int:
        """Elements of the largest tile."""
        most = [split.low + bool(split.longer) for split in (self.rows, self.columns)]
        return most[0] * most[1] * self.vectors.lanes

    @property
    def tag(self) -> str:
        """Largest tile, rows x columns in elements."""
        rows = self.rows.low + bool(self.rows.longer)
        return f"{rows}x{self.largest // max(rows, 1)}"

    def tile(self, row_part: Index, column_part: Index, body: Callable[[Tile], None]) -> None:
        """Build `body` for each shape of tile that occurs, run for the tile at these parts."""
        lanes = self.vectors.lanes
        row = self.rows.start(row_part)
        column = self.columns.start(column_part) * lanes

        def shaped(rows: int, width: int) -> None:
            last = (width - 1) * lanes
            if self.elements % lanes == 0:
                body(Tile(self.vectors, rows, width, row, column, None, None))
                return
            active = minimum(lanes, self.elements - (column + last))
            body(Tile(self.vectors, rows, width, row, column, self.vectors.mask(active), active.equals(lanes)))

        self.rows.each_length(
            row_part, lambda rows: self.columns.each_length(column_part, lambda width: shaped(rows, width))
        )


def _cycles(rows: int, wide: int, r: int, w: int, reduction: int) -> float:
    """Estimated cycles: two multiply-adds and two loads a cycle, and a share of each tile's start and stores.

    Each further shape of tile counts 2 %: it must be compiled, too.
    """
    high, across = Split.by(rows, r), Split.by(wide, w)
    shapes = (1 + bool(high.longer)) * (1 + bool(across.longer))
    height, width = rows / high.parts, wide / across.parts
    step = max(height * width / 2, (height + width) / 2) + 0.5
    return high.parts * across.parts * (reduction * step + 2 * height * width + 15) * (1 + 0.02 * (shapes - 1))


def multiply(
    tile: Tile,
    reduction: int,
    left: Callable[[Index, int], ir.Value],
    right: Callable[[Index], Sequence[ir.Value]],
) -> list[ir.Value]:
    """The sums over k of left(k, row) * right(k)[v], as [rows * width] vectors.

    `left` gives the element of row `row` in every lane, `right` the `width` column vectors of step k.
    """
    count = tile.rows * tile.width
    ways = min(-(-CHAINS // count), max(reduction, 1))

    def step(k: Index, sums: Sequence[ir.Value]) -> list[ir.Value]:
        across = right(k)
        return [
            fma(splat, across[v], sums[r * tile.width + v])
            for r in range(tile.rows)
            for splat in [left(k, r)]
            for v in range(tile.width)
        ]

    def steps(k: Index, sums: list[ir.Value]) -> list[ir.Value]:
        return [x for way in range(ways) for x in step(k + way, sums[way * count : (way + 1) * count])]

    whole = reduction // ways * ways
    sums = carry(0, whole, ways, [tile.vectors.splat(0)] * (count * ways), steps)
    total = sums[:count]
    for way in range(1, ways):
        total = [add(a, b) for a, b in zip(total, sums[way * count : (way + 1) * count], strict=True)]
    for k in range(whole, reduction):
        total = step(as_index(k), total)
    return total


@dataclass(frozen=True, slots=True)
class Output:
    """Where tiles go: `y` after `epilogue`. Make it at the start of a function (it may hold stack memory)."""

    isa: Isa
    y: Buffer
    epilogue: Epilogue
    buffers: Mapping[str, Buffer]
    along_channels: bool
    spill: Buffer | None

    @classmethod
    def of(
        cls, isa: Isa, grid: Grid, epilogue: Epilogue, buffers: Mapping[str, Buffer], *, along_channels: bool
    ) -> Output:
        """`along_channels`: the columns of a tile are channels (a linear layer), else its rows are (a convolution)."""
        long = epilogue.source.count("\n") - 2 > LONG_EPILOGUE
        spill = local("f32", grid.largest) if long else None
        return cls(isa, buffers["y"], epilogue, buffers, along_channels, spill)

    def store(self, tile: Tile, sums: Sequence[ir.Value], first: IndexLike, pitch: int, channel: IndexLike) -> None:
        """Store the tile: its element (0, 0) is output element `first` of `channel`, its rows are `pitch` apart."""
        if self.spill is None:
            for r in range(tile.rows):
                for v in range(tile.width):
                    self._finish(tile, sums[r * tile.width + v], as_index(r), v, first, pitch, channel)
            return
        lanes = tile.vectors.lanes
        for i, total in enumerate(sums):
            tile.vectors.store(total, self.spill, i * lanes)
        with loop(0, tile.rows) as row:
            for v in range(tile.width):
                total = tile.vectors.load(self.spill, row * (tile.width * lanes) + v * lanes)
                self._finish(tile, total, row, v, first, pitch, channel)

    def _finish(
        self, tile: Tile, total: ir.Value, r: Index, v: int, first: IndexLike, pitch: int, channel: IndexLike
    ) -> None:
        lanes = tile.vectors.lanes
        at = r * pitch + first + v * lanes
        mask = tile.mask_of(v)
        own = channel + as_index(v * lanes) if self.along_channels else r + channel
        value = finish(
            tile.vectors,
            self.epilogue,
            self.buffers,
            total,
            element=at,
            channel=own,
            mask=mask,
            along_channels=self.along_channels,
        )
        if mask is None or self.isa.masks:
            tile.vectors.store(value, self.y, at, mask)
        else:  # without mask registers a masked store is slow: use it only where lanes are really left out
            choose(
                tile.full,
                lambda: tile.vectors.store(value, self.y, at),
                lambda: tile.vectors.store(value, self.y, at, mask),
            )
