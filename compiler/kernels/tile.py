"""The register tile: the inner loop of every dense kernel.

An output matrix [rows, columns] is cut into tiles of a few rows and a few vectors of columns. A tile's sums stay in
registers over the whole reduction; each step reads one vector per column vector and one broadcast element per row (Goto & van
de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from torch_mlir import ir

from sparsec.kernels.emit import Buffer, Vectors, add, carry, fma
from sparsec.kernels.index import Index, as_index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.short_sums import add_runs
from sparsec.kernels.split import Split

# Independent sums needed to hide the latency of a fused multiply-add (4 cycles, 2 a cycle, on current x86 cores).
CHAINS = 8
# Rows whose elements lie a multiple of a page apart share one set of the level-1 cache, 12 lines on current x86 cores;
# some must be left for the columns.
PAGE, CLASHING_ROWS = 1024, 10
MOST_ROWS = 28  # of a tile


MultiplyAdd = Callable[[ir.Value, ir.Value, ir.Value], ir.Value]  # (left, right, total) -> total + left * right


@dataclass(frozen=True, slots=True)
class Tile:
    """Rows [row, row + rows) and `width` vectors of columns from element `column` on; `mask` guards the last vector.

    `vectors` are those of the sums.
    """

    vectors: Vectors
    rows: int
    width: int
    row: Index
    column: Index
    mask: ir.Value | None
    full: ir.Value | None  # true if the mask leaves nothing out; None if that is known beforehand
    ways: int  # steps of the reduction that are in flight, each with sums of its own

    def mask_of(self, v: int) -> ir.Value | None:
        """The mask of column vector `v`."""
        return self.mask if v == self.width - 1 else None

    def splats(self, source: Buffer, at: Index, pitch: int) -> Iterator[ir.Value]:
        """One element per row, `pitch` apart from `at` on, each in every lane."""
        return (self.vectors_of(source).load_splat(source, at + r * pitch) for r in range(self.rows))

    def load(self, source: Buffer, at: Index) -> list[ir.Value]:
        """The tile's column vectors from element `at` on; columns outside the matrix are not read."""
        vectors = self.vectors_of(source)
        return [vectors.load(source, at + v * vectors.lanes, self.mask_of(v)) for v in range(self.width)]

    def vectors_of(self, source: Buffer) -> Vectors:
        """As many lanes as sums have, of the type in a buffer."""
        return Vectors(self.vectors.lanes, source.dtype)


@dataclass(frozen=True, slots=True)
class Grid:
    """How an output matrix of `rows.total` rows and `elements` columns is cut; `columns` counts vectors."""

    vectors: Vectors
    rows: Split
    columns: Split
    elements: int
    isa: Isa
    turned: bool = False

    @classmethod
    def plan(
        cls,
        isa: Isa,
        rows: int,
        columns: int,
        reduction: int,
        *,
        turned: bool = False,
        rows_apart: int = 0,
        total: str = "f32",
        height: int | None = None,
    ) -> Grid:
        """The tiling with the fewest estimated cycles among those whose sums fit the registers.

        `turned` tiles are stored transposed. Neighbouring rows are read `rows_apart` elements of four bytes from each
        other. `total` is the type of a sum.
        """
        vectors = Vectors(isa.lanes(), total)
        wide = -(-columns // vectors.lanes)
        # Beside the sums: the column vectors, one broadcast, a mask where masks are vectors; and one to spare where
        # there are many.
        other = 1 + (isa.registers >= 32) + (not isa.masks and columns % vectors.lanes != 0)
        most = vectors.lanes if turned else CLASHING_ROWS if rows_apart and rows_apart % PAGE == 0 else MOST_ROWS
        grids = [
            cls(vectors, Split.by(rows, r), Split.by(wide, w), columns, isa, turned)
            for w in range(1, min(wide, 8) + 1)
            for r in ((height,) if height is not None else range(1, min(rows, most) + 1))
            if r * w + w + (r if isa.early_loads else 0) + other <= isa.registers
        ]
        return min(
            grids, key=lambda grid: grid.cycles(reduction), default=cls(vectors, Split(rows, 0), Split(wide, 0), 0, isa)
        )

    def cycles(self, reduction: int) -> float:
        """Estimated cycles: two multiply-adds or loads a cycle, 1.3 cycles per column vector from level-2 cache,
        and each tile's start and stores.

        Each further shape of tile counts 2 %, as it must be compiled, too; few tiles count more, as threads share them.
        """
        shapes = (1 + bool(self.rows.longer)) * (1 + bool(self.columns.longer))
        height, width = self.rows.total / self.rows.parts, self.columns.total / self.columns.parts
        step = max(height * width / 2, (height + width) * 0.55, width * 1.3) + 0.25 + 0.15 * width
        store = (2 * height + 8 * self.vectors.lanes * self.turned) * width + 15
        return self.tiles * (reduction * step + store) * (1 + 0.02 * (shapes - 1) + 1 / self.tiles)

    @property
    def tiles(self) -> int:
        return self.rows.parts * self.columns.parts

    @property
    def tag(self) -> str:
        """Largest tile, rows x columns in elements."""
        return f"{self.rows.most}x{self.columns.most * self.vectors.lanes}" + "t" * self.turned

    def tile(self, row_part: Index, column_part: Index, body: Callable[[Tile], None]) -> None:
        """Build `body` for each shape of tile that occurs, run for the tile at these parts."""
        lanes = self.vectors.lanes
        row = self.rows.start(row_part)
        column = self.columns.start(column_part) * lanes

        def shaped(rows: int, width: int) -> None:
            last = (width - 1) * lanes
            ways = self.isa.unrolling(-(-CHAINS // (rows * width)), rows * width, rows + width)
            if self.elements % lanes == 0:
                body(Tile(self.vectors, rows, width, row, column, None, None, ways))
                return
            active = minimum(lanes, self.elements - (column + last))
            body(Tile(self.vectors, rows, width, row, column, self.vectors.mask(active), active.equals(lanes), ways))

        self.rows.each_length(
            row_part, lambda rows: self.columns.each_length(column_part, lambda width: shaped(rows, width))
        )


def multiply(
    tile: Tile,
    reduction: int,
    left: Callable[[Index], Iterable[ir.Value]],
    right: Callable[[Index], Sequence[ir.Value]],
    multiply_add: MultiplyAdd = fma,
    short: str | None = None,
) -> list[ir.Value]:
    """The sums over k of left(k)[row] * right(k)[v], as [rows * width] vectors.

    `left` gives for step k each row's element in every lane, one after the other (a generator, so that each is read
    just before its use); `right` gives the `width` column vectors. `short` is the type of sums of a few products, if they
    have their own.
    """
    if short is not None:
        few = replace(tile, vectors=Vectors(tile.vectors.lanes, short))
        totals = [tile.vectors.splat(0)] * (tile.rows * tile.width)

        def run(first: Index, length: int) -> list[ir.Value]:
            return multiply(few, length, lambda k: left(first + k), lambda k: right(first + k), multiply_add)

        return add_runs(short, reduction, totals, run)
    count = tile.rows * tile.width
    ways = min(tile.ways, max(reduction, 1))

    def step(k: Index, sums: Sequence[ir.Value]) -> list[ir.Value]:
        across = right(k)
        return [
            multiply_add(splat, across[v], sums[r * tile.width + v])
            for r, splat in enumerate(left(k))
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
