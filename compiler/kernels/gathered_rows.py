"""Rows, or blocks of rows, of whole numbers whose nonzeros lie anywhere: any four of their columns make a word.

Words of neighbouring columns would mostly hold zeros. So x is kept as rows of bytes, a row for each column, and the
words of a block's next four columns are made on the fly, for 16 tokens of each of four vectors. All rows of a block share them.
Where tokens are too few for that, two words lie side by side in a vector, each for half as many tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.blocked import Blocked
from sparsec.kernels.byte_rows import GROUP, interleaved
from sparsec.kernels.emit import Buffer, Vectors, add, add_up, carry, joined, loop, shuffle
from sparsec.kernels.index import Index
from sparsec.kernels.packed import Packed
from sparsec.kernels.row_groups import RowGroups
from sparsec.kernels.row_tile import RowTile
from sparsec.kernels.schedule import CHAINS
from sparsec.kernels.sparse_rows import Visits, ramps
from sparsec.kernels.words import Words

AHEAD = 256  # words of weights, and offsets, from one that is read to one that is asked for


@dataclass(frozen=True, slots=True)
class GatheredRows(Packed):
    """Words of a weight in visiting order; visit j goes to row of blocks `order[j]` of its group and has the words
    [pointers[j], pointers[j + 1]), a `multiple`; group g makes the visits [bounds[g], bounds[g + 1]).

    Word i has `height` values, one for each row, and reads the rows of bytes at the elements `offsets[4 * i] ...` of a tile.
    `beside` words are multiplied side by side. In several `parts`, blocks of columns, visits add to what earlier ones left.
    """

    values: NDArray[np.int32]
    offsets: NDArray[np.int32]
    order: NDArray[np.int32]
    pointers: NDArray[np.int32]
    bounds: NDArray[np.int32]
    height: int
    multiple: int
    beside: int = 1
    parts: int = 1

    @classmethod
    def pack(
        cls, blocked: Blocked, groups: RowGroups, words: Words, *, pitch: int, beside: int = 1, parts: int = 1
    ) -> GatheredRows:
        """Pack blocks of one column; rows of bytes are `pitch` elements apart."""
        height = blocked.block[0]
        multiple = max(beside, CHAINS // (GROUP * height))
        rows = [np.arange(begin, end) for begin, end in zip(groups.starts, groups.starts[1:], strict=False)]
        columns = -(-math.prod(blocked.shape[1:]) // parts) if parts > 1 else None
        visits = Visits.of(blocked, rows, [part - part[0] for part in rows], columns=columns)
        held = visits.ends - visits.begins
        pointers = np.concatenate([[0], np.cumsum(-(-held // (GROUP * multiple)) * multiple)])
        source = np.repeat(visits.begins, held) + ramps(held)
        target = np.repeat(GROUP * pointers[:-1], held) + ramps(held)
        size = GROUP * max(int(pointers[-1]), 1)
        values, offsets = np.zeros((size, height), np.float32), np.zeros(size, np.int64)
        values[target] = blocked.values[source, 0]
        offsets[target] = blocked.columns[source].astype(np.int64) * pitch
        return cls(
            words.encode(values.reshape(-1, GROUP, height).transpose(0, 2, 1)).reshape(-1).astype(np.int32),
            offsets.astype(np.int32),
            visits.slots.astype(np.int32),
            pointers.astype(np.int32),
            visits.bounds.astype(np.int32),
            height,
            multiple,
            beside,
            parts,
        )

    @property
    def tag(self) -> str:
        """What the generated code depends on besides the sizes in `spec`."""
        return f"gathered {self.height} {self.multiple} {self.beside} {self.parts}"

    @property
    def adds(self) -> bool:
        return self.parts > 1

    def emit(self, buffers: Mapping[str, Buffer], tile: RowTile) -> None:
        """Leave the sums of a group, or add them, in the sums of a tile."""
        held = replace(tile.held, height=self.height)
        wide = replace(held.vectors, lanes=self.beside * held.vectors.lanes)
        places, steps = self.height * held.count, self.multiple // self.beside

        def words(at: Index, sums: list[ir.Value]) -> list[ir.Value]:
            for step in range(steps):
                self._add(buffers, tile, at + step * self.beside, sums, step * places)
            return sums

        zeros = [wide.splat(0)] * (places * steps)
        with loop(buffers["bounds"].load_index(tile.group), buffers["bounds"].load_index(tile.group + 1)) as visited:
            begin, end = (buffers["pointers"].load_index(visited + i) for i in (0, 1))
            sums = carry(begin, end, self.multiple, zeros, words)
            totals = [_folded(add_up(sums[place::places]), held.vectors.lanes) for place in range(places)]
            slot = buffers["order"].load_index(visited)
            if self.adds:
                totals = [add(*pair) for pair in zip(held.load(slot), totals, strict=True)]
            held.save(slot, totals)

    def _add(self, buffers: Mapping[str, Buffer], tile: RowTile, at: Index, sums: list[ir.Value], first: int) -> None:
        """Add the words side by side from `at` on, of each row and vector, to the sums from number `first` on."""
        lanes, count = tile.held.vectors.lanes, tile.held.count
        narrow = Vectors(GROUP * lanes, "i8")
        columns = [
            joined(
                [
                    narrow.load(tile.source, tile.base + buffers["offsets"].load_index((at + word) * GROUP + byte))
                    for word in range(self.beside)
                ]
            )
            for byte in range(GROUP)
        ]
        buffers["offsets"].prefetch(at * GROUP + AHEAD)
        buffers["values"].prefetch(at * self.height + AHEAD)
        across = interleaved(columns, self.beside * lanes)
        weights = [
            tile.words.splats(buffers["values"], (at + word) * self.height, self.height, lanes)
            for word in range(self.beside)
        ]
        for row, values in enumerate(zip(*weights, strict=True)):
            weight = joined(values)
            for number in range(count):
                place = first + row * count + number
                sums[place] = tile.words.multiply_add(across[number], weight, sums[place])


def _folded(total: ir.Value, lanes: int) -> ir.Value:
    """The sum of the parts of a vector, of so many lanes each."""
    whole = ir.VectorType(total.type).shape[0]
    if whole == lanes:
        return total
    return add_up([shuffle(total, total, range(first, first + lanes)) for first in range(0, whole, lanes)])
