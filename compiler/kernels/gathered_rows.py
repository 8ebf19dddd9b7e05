"""Rows, or blocks of rows, of whole numbers whose nonzeros lie anywhere: any four of their columns make a word.

Words of neighbouring columns would mostly hold zeros. So x is kept as rows of bytes, a row for each column, and the
words of a block's next four columns are made on the fly, for 16 tokens of each of four vectors: two rounds of
interleaving, first of bytes, then of pairs. All rows of a block share them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects import vector

from sparsec.formats.blocked import Blocked
from sparsec.kernels.emit import Buffer, Vectors, add_up, carry, define, loop, shuffle
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call
from sparsec.kernels.row_groups import RowGroups
from sparsec.kernels.spmm import CHAINS, RowTile, ramps
from sparsec.kernels.token_tile import MOVED, TokenTiles
from sparsec.kernels.words import Words

GROUP = 4  # bytes of a word, and vectors of a tile
ROWS = "byte rows"  # the buffer
AHEAD = 256  # words of weights, and offsets, from one that is read to one that is asked for
LANE = 16  # bytes inside which instructions interleave


@dataclass(frozen=True, slots=True)
class GatheredRows:
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
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The packed weight, by buffer name."""
        return {
            "values": self.values,
            "offsets": self.offsets,
            "order": self.order,
            "pointers": self.pointers,
            "bounds": self.bounds,
        }

    @property
    def spec(self) -> dict[str, tuple[str, int]]:
        """The kernel's arguments for `arrays`."""
        return {name: ("i32", len(array)) for name, array in self.arrays.items()}

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


def interleaved(columns: Sequence[ir.Value], lanes: int) -> list[ir.Value]:
    """Four vectors of words, each of whose bytes come from the four columns; see `emit_byte_rows` for the tokens."""
    low, high = _zip_halves(columns, 1)
    zipped = [_zip(low[half], high[half], part, 2) for half in (0, 1) for part in (0, 1)]
    return [vector.bitcast(Vectors(lanes, "i32").type, value) for value in zipped]


def _zip_halves(four: Sequence[ir.Value], size: int) -> tuple[list[ir.Value], list[ir.Value]]:
    """Lower and upper half of the first two of four vectors, and of the other two, element by element."""
    low = [_zip(four[0], four[1], half, size) for half in (0, 1)]
    return low, [_zip(four[2], four[3], half, size) for half in (0, 1)]


def _zip(left: ir.Value, right: ir.Value, half: int, size: int) -> ir.Value:
    """Elements of `size` bytes of left and right in turn, from the lower or upper half of every 16 bytes."""
    total = ir.VectorType(left.type).shape[0]
    kind = Vectors(total // size, f"i{8 * size}").type
    one, other = (vector.bitcast(kind, value) for value in (left, right))
    each, count = LANE // size, total // size
    places = [
        lane + half * each // 2 + number + which * count
        for lane in range(0, count, each)
        for number in range(each // 2)
        for which in (0, 1)
    ]
    return vector.bitcast(Vectors(total, "i8").type, shuffle(one, other, places))


def emit_byte_rows(module: ir.Module, tokens: TokenTiles, isa: Isa) -> Call:
    """Add the function that copies tiles of words to rows of bytes; one unit is a word of all tokens of a tile.

    A row holds one column for four vectors of tokens: of every 16 bytes, four tokens of each vector, so that interleaving
    four rows gives the words of the first vector, the second, ….
    """
    lanes, vectors = tokens.lanes, tokens.vectors
    name = f"u8_byte_rows_{tokens.problem.tokens}x{tokens.problem.inputs}_{tokens.tiles}x{vectors}x{lanes}_{isa.suffix}"
    spec = {tokens.source: (tokens.words.dtype, tokens.elements), ROWS: ("i8", byte_rows(tokens))}
    units = tokens.tiles * tokens.inputs

    def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        words, pitch = Vectors(lanes, "i32"), GROUP * lanes
        turned = [
            LANE * lane + 4 * token + byte for lane in range(lanes // 4) for byte in range(4) for token in range(4)
        ]
        with loop(begin, end) as unit:
            read = [words.load(buffers[tokens.source], unit * tokens.width + v * lanes) for v in range(vectors)]
            read += [words.splat(0)] * (GROUP - vectors)
            narrow = Vectors(pitch, "i8")
            squares = [vector.bitcast(narrow.type, value) for value in read]
            squares = [shuffle(value, value, turned) for value in squares]
            low, high = _zip_halves(squares, 4)
            for byte in range(GROUP):
                row = _zip(low[byte // 2], high[byte // 2], byte % 2, 8)
                narrow.store(row, buffers[ROWS], (unit * GROUP + byte) * pitch)

    define(module, name, spec, body)
    return Call(name, tuple(spec), units, products=MOVED * byte_rows(tokens))


def byte_rows(tokens: TokenTiles) -> int:
    """Bytes of all rows."""
    return tokens.tiles * tokens.inputs * GROUP * GROUP * tokens.lanes
