"""Rows of blocks of 16 outputs, one column wide, on tile registers: only the columns that a block row has are multiplied.

Any four columns of a block row make a word, as in `gathered_rows`; 16 words of 16 tokens are a tile, made on the stack
from rows of bytes for each of four vectors of tokens. So the weights are the left operand, and sums come out [outputs]
[tokens], as all sparse rows leave them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.blocked import Blocked
from sparsec.kernels import tile_registers
from sparsec.kernels.byte_rows import GROUP, interleaved
from sparsec.kernels.emit import Buffer, Vectors, carry, local, loop
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.packed import Packed
from sparsec.kernels.row_groups import RowGroups
from sparsec.kernels.row_tile import RowTile
from sparsec.kernels.sparse_rows import ramps
from sparsec.kernels.tile_registers import ROW_BYTES, SIDE, TILE, TILE_BYTES, WEIGHTS_LEFT
from sparsec.kernels.words import Words

COLUMNS = GROUP * SIDE  # of a tile of weights


@dataclass(frozen=True, slots=True)
class TileRows(Packed):
    """Tiles of weights [16 outputs][16 words], block row by block row; row j has the tiles [starts[j], starts[j + 1]).

    Of these it has the words [pointers[j], pointers[j + 1]); weights of the others, at the end of its last tile, are zero.
    Word i reads the rows of bytes at the elements `offsets[4 * i] ...` of a tile of tokens; group g has the block rows
    [bounds[g], bounds[g + 1]).
    """

    values: NDArray[np.int32]
    offsets: NDArray[np.int32]
    pointers: NDArray[np.int32]
    starts: NDArray[np.int32]
    bounds: NDArray[np.int32]

    @classmethod
    def pack(cls, blocked: Blocked, groups: RowGroups, words: Words, *, pitch: int) -> TileRows:
        """Pack blocks of 16 x 1; rows of bytes are `pitch` elements apart."""
        assert blocked.block == (SIDE, 1)
        counts = blocked.counts.astype(np.int64)
        pointers, starts = (np.concatenate([[0], np.cumsum(-(-counts // size))]) for size in (GROUP, COLUMNS))
        inside = ramps(counts)
        offsets = np.zeros(GROUP * max(int(pointers[-1]), 1), np.int64)
        offsets[np.repeat(GROUP * pointers[:-1], counts) + inside] = blocked.columns.astype(np.int64) * pitch
        values = np.zeros((max(int(starts[-1]), 1) * COLUMNS, SIDE), np.float32)
        values[np.repeat(COLUMNS * starts[:-1], counts) + inside] = blocked.values[:, 0]
        across = words.encode(values.reshape(-1, COLUMNS, SIDE).transpose(0, 2, 1))
        return cls(
            across.reshape(-1).astype(np.int32),
            offsets.astype(np.int32),
            pointers.astype(np.int32),
            starts.astype(np.int32),
            groups.starts.astype(np.int32),
        )

    @property
    def tag(self) -> str:
        """What the generated code depends on besides the sizes in `spec`."""
        return "tiles"

    @property
    def adds(self) -> bool:
        return False

    def emit(self, buffers: Mapping[str, Buffer], tile: RowTile) -> None:
        """Leave the sums of a group in the sums of a tile of tokens."""
        held, first = tile.held, buffers["bounds"].load_index(tile.group)
        words = local(tile.words.dtype, GROUP * TILE)
        weights, made, sums = (tile_registers.address(each) for each in (buffers["values"], words, held.memory))
        with loop(first, buffers["bounds"].load_index(tile.group + 1)) as row:
            begin, behind = (buffers["starts"].load_index(row + i) for i in (0, 1))
            word, last = (buffers["pointers"].load_index(row + i) for i in (0, 1))

            def step(at: Index, totals: list[ir.Value]) -> list[ir.Value]:
                start = word + (at - begin) * SIDE
                self._make(buffers, tile, words, start, minimum(last - start, SIDE))
                left = tile_registers.load(weights + at * TILE_BYTES)
                return [
                    tile_registers.multiply_add(
                        WEIGHTS_LEFT,
                        left,
                        tile_registers.load(made + number * TILE_BYTES),
                        total,
                    )
                    for number, total in enumerate(totals)
                ]

            totals = carry(begin, behind, 1, [tile_registers.zero() for _ in range(held.count)], step)
            target = sums + (row - first) * (SIDE * 4 * held.pitch)
            for number, total in enumerate(totals):
                tile_registers.store(total, target + number * ROW_BYTES, 4 * held.pitch)

    def _make(self, buffers: Mapping[str, Buffer], tile: RowTile, words: Buffer, start: Index, count: Index) -> None:
        """Put so many words from number `start` on into the first rows of a tile for each vector of tokens."""
        narrow, wide = Vectors(GROUP * SIDE, "i8"), Vectors(SIDE, words.dtype)
        with loop(0, count) as place:
            columns = [
                narrow.load(tile.source, tile.base + buffers["offsets"].load_index((start + place) * GROUP + byte))
                for byte in range(GROUP)
            ]
            for number, vector in enumerate(interleaved(columns, SIDE)[: tile.held.count]):
                wide.store(vector, words, place * SIDE + number * TILE)
