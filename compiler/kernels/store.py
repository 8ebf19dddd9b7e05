"""From the sums of a register tile to the output: epilogue, edges, transposition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch_mlir import ir

from sparsec.kernels.emit import Buffer, Vectors, apart, choose, finish, local, loop, shuffle
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.tile import Grid, Tile

# An epilogue with more operations than this (constants apart) is built once, in a loop over the tile's vectors, to
# keep code small.
LONG_EPILOGUE = 6
BYTES = 16  # of the smallest vector
SPILL = "sums"  # the name of kept sums among the buffers of the function that stores them

Sums = Callable[[Tile], Sequence[ir.Value]]  # [rows * width] vectors
Origin = Callable[
    [Index, Index], tuple[Index, Index]
]  # (row, column) of a tile -> (output element, channel) of its corner


@dataclass(frozen=True, slots=True)
class Output:
    """Where the tiles of `grid` go: buffer "y", after `epilogue`. Make it at the start of the function `name` (it may hold
    stack memory); what it stores from there, it stores in a function of its own.

    `pitch` elements lie between rows of y. The columns of y are channels (`along_channels`: a linear layer), or its
    rows are. The tiles of a `turned` grid are the transpose of what is stored.
    """

    module: ir.Module
    name: str
    isa: Isa
    grid: Grid
    epilogue: Epilogue
    buffers: Mapping[str, Buffer]
    pitch: int
    along_channels: bool
    spill: Buffer | None

    @classmethod
    def of(
        cls,
        module: ir.Module,
        name: str,
        isa: Isa,
        grid: Grid,
        epilogue: Epilogue,
        buffers: Mapping[str, Buffer],
        pitch: int,
        *,
        along_channels: bool,
    ) -> Output:
        rows = grid.vectors.lanes if grid.turned else grid.rows.most
        spill = None
        if grid.turned or is_long(epilogue):
            spill = local(grid.vectors.dtype, rows * grid.columns.most * grid.vectors.lanes)
        written = {key: buffer for key, buffer in buffers.items() if key == "y" or key.startswith("epilogue.")}
        return cls(module, name, isa, grid, epilogue, written, pitch, along_channels, spill)

    def tile(self, row_part: Index, column_part: Index, sums: Sums, origin: Origin) -> None:
        """Build the tile at these parts of the grid: `sums` for each shape that occurs, then the store."""
        if self.spill is None:
            self.grid.tile(row_part, column_part, lambda tile: self._store(tile, sums(tile), origin))
            return
        self.grid.tile(row_part, column_part, lambda tile: self._keep(tile, sums(tile)))
        grid = self.grid
        first, channel = origin(grid.rows.start(row_part), grid.columns.start(column_part) * grid.vectors.lanes)
        memory = {**self.buffers, SPILL: self.spill}
        apart(self.module, f"{self.name}_store", memory, self._stored, row_part, column_part, first, channel)

    def _stored(
        self, memory: Mapping[str, Buffer], row_part: Index, column_part: Index, first: Index, channel: Index
    ) -> None:
        """Store the sums of a tile, whose corner is output element `first` of `channel`, from the stack."""
        inside = replace(self, buffers=memory)
        store = inside._store_turned if self.grid.turned else inside._store_kept
        store(memory[SPILL], row_part, column_part, first, channel)

    def _store(self, tile: Tile, sums: Sequence[ir.Value], origin: Origin) -> None:
        """Store sums from registers."""
        first, channel = origin(tile.row, tile.column)
        for r in range(tile.rows):
            for v in range(tile.width):
                column = v * tile.vectors.lanes
                at = first + r * self.pitch + column
                own = channel + (column if self.along_channels else r)
                self._finish(sums[r * tile.width + v], at, own, tile.mask_of(v), tile.full)

    def _keep(self, tile: Tile, sums: Sequence[ir.Value]) -> None:
        """Put the sums on the stack, [vector][row]; those that are stored together [row][vector]."""
        assert self.spill is not None
        lanes, across = tile.vectors.lanes, self.grid.columns.most
        height = self.spill.size // (across * lanes)
        for i, total in enumerate(sums):
            row, v = divmod(i, tile.width)
            tile.vectors.store(
                total, self.spill, (v * height + row if self.together == 1 else row * across + v) * lanes
            )

    @property
    def together(self) -> int:
        """Neighbouring vectors of sums that are stored as one: of bytes as many as fill a vector, or as a tile has."""
        grid = self.grid
        most = min(BYTES // grid.vectors.lanes, grid.columns.low)
        return 1 << most.bit_length() - 1 if self.epilogue.result == "i8" and not grid.turned and most > 1 else 1

    def _store_kept(self, spill: Buffer, row_part: Index, column_part: Index, first: Index, channel: Index) -> None:
        """Store sums from the stack, one vector at a time."""
        if self.together > 1:
            self._store_rows(spill, row_part, column_part, first, channel)
            return
        grid, vectors = self.grid, self.grid.vectors
        column = grid.columns.start(column_part) * vectors.lanes
        with loop(0, grid.columns.length(column_part)) as v:
            beside = v * vectors.lanes
            active = minimum(vectors.lanes, grid.elements - (column + beside))
            ragged = grid.elements % vectors.lanes != 0
            mask, full = (vectors.mask(active), active.equals(vectors.lanes)) if ragged else (None, None)
            with loop(0, grid.rows.length(row_part)) as r:
                total = vectors.load(spill, (v * grid.rows.most + r) * vectors.lanes)
                own = channel + (beside if self.along_channels else r)
                self._finish(total, first + r * self.pitch + beside, own, mask, full)

    def _store_rows(self, spill: Buffer, row_part: Index, column_part: Index, first: Index, channel: Index) -> None:
        """Store sums from the stack row by row, as many vectors at a time as are stored together."""
        grid, vectors = self.grid, self.grid.vectors
        lanes, length = vectors.lanes, grid.columns.length(column_part)
        left = grid.elements - grid.columns.start(column_part) * lanes  # elements, of which a row may have a part
        whole = minimum(length, left // lanes) // self.together * self.together

        def put(r: Index, v: Index, vectors: Vectors, mask: ir.Value | None, full: ir.Value | None) -> None:
            total = vectors.load(spill, (r * grid.columns.most + v) * lanes)
            own = channel + (v * lanes if self.along_channels else r)
            self._finish(total, first + r * self.pitch + v * lanes, own, mask, full, vectors)

        with loop(0, grid.rows.length(row_part)) as r:
            with loop(0, whole, self.together) as v:
                put(r, v, Vectors(self.together * lanes, vectors.dtype), None, None)
            with loop(whole, length) as v:
                active = minimum(lanes, left - v * lanes)
                ragged = grid.elements % lanes != 0
                put(r, v, vectors, vectors.mask(active) if ragged else None, active.equals(lanes) if ragged else None)

    def _store_turned(self, spill: Buffer, row_part: Index, column_part: Index, first: Index, channel: Index) -> None:
        """Store the transpose of sums from the stack. The columns of the grid fill whole vectors."""
        grid, vectors = self.grid, self.grid.vectors
        lanes = vectors.lanes
        rows = grid.rows.length(row_part)
        mask, full = vectors.mask(rows), rows.equals(lanes) if rows.known is None else None
        with loop(0, grid.columns.length(column_part)) as v:
            block = v * (lanes * lanes)
            lines = [vectors.load(spill, block + i * lanes) for i in range(lanes)]
            for i, line in enumerate(transposed(lines)):
                vectors.store(line, spill, block + i * lanes)
            with loop(0, lanes) as r:
                row = v * lanes + r
                total = vectors.load(spill, block + r * lanes)
                own = channel + (0 if self.along_channels else row)
                self._finish(total, first + row * self.pitch, own, mask, full)

    def _finish(
        self,
        total: ir.Value,
        at: Index,
        channel: Index,
        mask: ir.Value | None,
        full: ir.Value | None,
        vectors: Vectors | None = None,
    ) -> None:
        """Store the epilogue of one vector; `full` says at run time that the mask leaves nothing out."""
        vectors, y = vectors or self.grid.vectors, self.buffers["y"]
        value = finish(
            vectors,
            self.epilogue,
            self.buffers,
            total,
            element=at,
            channel=channel,
            mask=mask,
            along_channels=self.along_channels,
        )
        if mask is None or full is None or self.isa.masks:
            vectors.store(value, y, at, mask)
        else:  # without mask registers a masked store is slow: use it only where lanes are really left out
            choose(full, lambda: vectors.store(value, y, at), lambda: vectors.store(value, y, at, mask))


def is_long(epilogue: Epilogue) -> bool:
    """Whether the epilogue should be built as few times as possible."""
    lines = epilogue.source.splitlines()
    return sum(" = " in line and "arith.constant" not in line for line in lines) > LONG_EPILOGUE


def transposed(lines: Sequence[ir.Value]) -> list[ir.Value]:
    """The transpose of a square block, one vector a line; their number is a power of two. n log n shuffles."""
    lanes = len(lines)
    rows = list(lines)
    distance = lanes // 2
    while distance:
        upper = [lane if not lane & distance else lanes + lane - distance for lane in range(lanes)]
        lower = [lane + distance if not lane & distance else lanes + lane for lane in range(lanes)]
        for i in range(lanes):
            if not i & distance:
                a, b = rows[i], rows[i + distance]
                rows[i], rows[i + distance] = shuffle(a, b, upper), shuffle(a, b, lower)
        distance //= 2
    return rows
