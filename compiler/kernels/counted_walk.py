"""The code of visits to `CountedRows`: nonzeros of some rows, four at a time, added to the rows' sums.

Loads are the limit, so four offsets of 16 bits are one, and four weights of a single row are another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch_mlir import ir
from torch_mlir.dialects import arith, llvm, vector

from sparsec.kernels.emit import Buffer, Vectors, carry, shuffle
from sparsec.kernels.index import Index
from sparsec.kernels.row_tile import RowTile
from sparsec.kernels.schedule import AHEAD, CHAINS
from sparsec.kernels.short_sums import add_products

LINE = 16  # weights of 4 bytes in a cache line
STEP = 4  # nonzeros that share a load of weights and one of offsets

Store = Callable[[Index, list[ir.Value]], None]  # (row of a group, its sums)


@dataclass(frozen=True, slots=True)
class Walk:
    """The visits of a block: to sums that begin at zero if `fresh`, and go to `store` if there is one."""

    buffers: Mapping[str, Buffer]
    tile: RowTile
    height: int
    step: int
    ahead: int
    early: bool
    fresh: bool
    store: Store | None

    @property
    def places(self) -> int:
        """Vectors of sums of a visit."""
        return self.height * self.tile.held.count

    @property
    def apart(self) -> int:
        """Sets of sums, so that narrow tiles have enough chains."""
        return next(count for count in (1, 2, 4) if count == self.step or count * self.places >= CHAINS)

    def bucket(self, number: Index, at: ir.Value, rest: int, here: Index) -> ir.Value:
        """The visits with one remainder in a block whose columns begin at element `here` of x."""
        begin, end = (self.buffers["bounds"].load_index(number + i) for i in (0, 1))

        def one(visit: Index, carried: list[ir.Value]) -> list[ir.Value]:
            return self.visit(visit, carried, rest, here)

        return carry(begin, end, 1, self._ahead(at), one)[0]

    def _ahead(self, at: ir.Value) -> list[ir.Value]:
        """What is known before nonzeros from `at` on are added: where they begin, and their offsets, if these come early."""
        return [at, self._offsets(Index(dynamic=at))] if self.early else [at]

    def visit(self, number: Index, known: Sequence[ir.Value], rest: int, here: Index) -> list[ir.Value]:
        """One visit, of whose nonzeros `_ahead` is known; returns that of the next ones."""
        held, count, places = self.tile.held, self.tile.held.count, self.places
        rows = [self.buffers["slots"].load_index(number * self.height + row) for row in range(self.height)]
        steps = self.buffers["steps"].load_index(number)
        for line in range(self.ahead):
            self.buffers["values"].prefetch(Index(dynamic=known[0]) * self.height + (AHEAD + line * LINE))
        zero = held.vectors.splat(0.0)
        before = [zero] * places if self.fresh else [total for row in rows for total in held.load(row)]

        def add(nonzeros: int, known: list[ir.Value], sums: list[ir.Value]) -> tuple[list[ir.Value], list[ir.Value]]:
            begin = Index(dynamic=known[0])
            behind = self._ahead((begin + nonzeros).value)
            offsets = known[1] if self.early else self._offsets(begin)
            return behind, self._add(begin, here, nonzeros, sums, offsets)

        known, totals = add_products(
            self.tile.words,
            before,
            (Index(0), steps),
            lambda _, known, sums: add(self.step, known, sums),
            step=1,
            products=self.step,
            apart=self.apart,
            known=known,
            rest=(lambda known, sums: add(rest, known, sums)) if rest else None,
        )
        for place, row in enumerate(rows):
            (self.store or held.save)(row, totals[place * count : (place + 1) * count])
        return known

    def _add(
        self, at: Index, here: Index, nonzeros: int, sums: Sequence[ir.Value], offsets: ir.Value
    ) -> list[ir.Value]:
        """Sums with the next `nonzeros` <= step added, whose offsets are given."""
        tile, sums, count = self.tile, list(sums), self.tile.held.count
        read = Vectors(tile.held.vectors.lanes, tile.words.dtype)
        weights = self._weights(at)
        for number in range(nonzeros):
            offset = here + _field(offsets, number)
            across = [read.load(tile.source, offset + step * read.lanes) for step in range(count)]
            for row in range(self.height):
                weight = weights(number, row)
                for place, operand in enumerate(across):
                    chain = number % self.apart * self.places + row * count + place
                    sums[chain] = tile.words.multiply_add(operand, weight, sums[chain])
        return sums

    def _offsets(self, at: Index) -> ir.Value:
        """The offsets of a step's nonzeros from `at` on, side by side in one integer; behind the last there are some to spare."""
        packed = Vectors(self.step, "i16").load(self.buffers["offsets"], at)
        word = ir.IntegerType.get_signless(16 * self.step)
        return vector.extract(vector.bitcast(ir.VectorType.get([1], word), packed), [], [0])

    def _weights(self, at: Index) -> Callable[[int, int], ir.Value]:
        """Gives the weight of a nonzero from `at` on and a row, in all lanes."""
        values, lanes, words = self.buffers["values"], self.tile.held.vectors.lanes, self.tile.words
        # Rows that share the loads of x leave the ports to those of weights.
        if self.step == 1 or (self.height > 1 and not words.by_lane):
            read = Vectors(lanes, words.dtype)
            return lambda number, row: read.load_splat(values, (at + number) * self.height + row)
        four = Vectors(STEP, words.dtype)
        # Frozen, or LLVM makes a load of each lane again: x needs the load ports.
        packed = [llvm.freeze(four.load(values, at * self.height + part * STEP)) for part in range(self.height)]

        def weight(number: int, row: int) -> ir.Value:
            part, lane = divmod(number * self.height + row, STEP)
            return shuffle(packed[part], packed[part], [lane] * lanes)

        return weight


def _field(word: ir.Value, number: int) -> Index:
    """The 16-bit number at this place of a wider one."""
    if number:
        word = arith.shrui(word, arith.constant(word.type, 16 * number))
    kind = ir.IntegerType.get_signless(16)
    narrow = word if word.type == kind else arith.trunci(kind, word)
    return Index(dynamic=arith.index_castui(ir.IndexType.get(), narrow))
