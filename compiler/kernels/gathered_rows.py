"""Rows, or blocks of rows, of whole numbers whose nonzeros lie anywhere: any four of their columns make a word.

Words of neighbouring columns would mostly hold zeros. So x is kept as rows of bytes, a row for each column, and the
words of a block's next four columns are made on the fly, for 16 tokens of each of four vectors. All rows of a block share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.blocked import Blocked
from sparsec.kernels.byte_rows import GROUP, interleaved
from sparsec.kernels.emit import Buffer, Vectors, add_up, carry, loop
from sparsec.kernels.index import Index
from sparsec.kernels.packed import Packed
from sparsec.kernels.row_groups import RowGroups
from sparsec.kernels.row_tile import RowTile
from sparsec.kernels.schedule import CHAINS
from sparsec.kernels.sparse_rows import ramps
from sparsec.kernels.words import Words

AHEAD = 256  # words of weights, and offsets, from one that is read to one that is asked for


@dataclass(frozen=True, slots=True)
class GatheredRows(Packed):
    """Words of a weight in visiting order; visit j goes to row of blocks `order[j]` of its group and has the words
    [pointers[j], pointers[j + 1]), a `multiple`; group g makes the visits [bounds[g], bounds[g + 1]).

    Word i has `height` values, one for each row, and reads the rows of bytes at the elements `offsets[4 * i] ...` of a tile.
    """

    values: NDArray[np.int32]
    offsets: NDArray[np.int32]
    order: NDArray[np.int32]
    pointers: NDArray[np.int32]
    bounds: NDArray[np.int32]
    height: int
    multiple: int

    @classmethod
    def pack(cls, blocked: Blocked, groups: RowGroups, words: Words, *, pitch: int) -> GatheredRows:
        """Pack blocks of one column; rows of bytes are `pitch` elements apart."""
        height = blocked.block[0]
        multiple = max(1, CHAINS // (GROUP * height))
        counts = blocked.counts.astype(np.int64)
        runs = [np.arange(begin, end) for begin, end in zip(groups.starts, groups.starts[1:], strict=False)]
        rows = np.concatenate([run[np.argsort(-counts[run], kind="stable")] for run in runs])
        held = counts[rows]
        pointers = np.concatenate([[0], np.cumsum(-(-held // (GROUP * multiple)) * multiple)])
        source = np.repeat(blocked.pointers[rows].astype(np.int64), held) + ramps(held)
        target = np.repeat(GROUP * pointers[:-1], held) + ramps(held)
        size = GROUP * max(int(pointers[-1]), 1)
        values, offsets = np.zeros((size, height), np.float32), np.zeros(size, np.int64)
        values[target] = blocked.values[source, 0]
        offsets[target] = blocked.columns[source].astype(np.int64) * pitch
        starts = np.repeat(groups.starts[:-1], np.diff(groups.starts))
        return cls(
            words.encode(values.reshape(-1, GROUP, height).transpose(0, 2, 1)).reshape(-1).astype(np.int32),
            offsets.astype(np.int32),
            (rows - starts).astype(np.int32),
            pointers.astype(np.int32),
            groups.starts.astype(np.int32),
            height,
            multiple,
        )

    @property
    def tag(self) -> str:
        """What the generated code depends on besides the sizes in `spec`."""
        return f"gathered {self.height} {self.multiple}"

    @property
    def adds(self) -> bool:
        return False

    def emit(self, buffers: Mapping[str, Buffer], tile: RowTile) -> None:
        """Leave the sums of a group in the sums of a tile."""
        held = replace(tile.held, height=self.height)
        places = self.height * held.count

        def words(at: Index, sums: list[ir.Value]) -> list[ir.Value]:
            for part in range(self.multiple):
                self._add(buffers, tile, at + part, sums, part * places)
            return sums

        zeros = [held.vectors.splat(0)] * (places * self.multiple)
        with loop(buffers["bounds"].load_index(tile.group), buffers["bounds"].load_index(tile.group + 1)) as visited:
            begin, end = (buffers["pointers"].load_index(visited + i) for i in (0, 1))
            sums = carry(begin, end, self.multiple, zeros, words)
            held.save(buffers["order"].load_index(visited), [add_up(sums[place::places]) for place in range(places)])

    def _add(self, buffers: Mapping[str, Buffer], tile: RowTile, at: Index, sums: list[ir.Value], first: int) -> None:
        """Add a word of each row and vector to the sums from number `first` on."""
        lanes, count = tile.held.vectors.lanes, tile.held.count
        narrow = Vectors(GROUP * lanes, "i8")
        columns = [
            narrow.load(tile.source, tile.base + buffers["offsets"].load_index(at * GROUP + byte))
            for byte in range(GROUP)
        ]
        buffers["offsets"].prefetch(at * GROUP + AHEAD)
        buffers["values"].prefetch(at * self.height + AHEAD)
        across = interleaved(columns, lanes)
        weights = tile.words.splats(buffers["values"], at * self.height, self.height, lanes)
        for row, weight in enumerate(weights):
            for number in range(count):
                place = first + row * count + number
                sums[place] = tile.words.multiply_add(across[number], weight, sums[place])
