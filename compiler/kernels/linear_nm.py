"""Linear layer whose rows keep few nonzeros in each window of columns: vectors along outputs, x is permuted to them.

A window is as many columns as a vector has lanes. Each token's window is loaded once; for every value that the rows keep
in it, each lane, an output, picks its own column of the window by a permutation of registers. So x and y stay
token-major, and the limit is the permutations beside the multiply-adds: where two units multiply and two permute, one of
them both, three vectors of products take two cycles. With vectors of four lanes, permutations of bytes do it, too: there
it pays for a few tokens, for which weights, read once, are 5 bytes for each value that is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects import llvm

from sparsec.formats.nm import NofM
from sparsec.kernels.emit import Buffer, Vectors, add_up, carry, define, epilogue_buffers, fma, loop
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.linear_kernel import LinearKernel
from sparsec.kernels.packed import Packed
from sparsec.kernels.permutation import Permutation
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.split import Split
from sparsec.kernels.store import Output
from sparsec.kernels.tile import CHAINS, Grid, Tile

NEAR_BYTES = 3 << 17  # of weights whose panels meet a tile of tokens one after the other
Scalar = TypeVar("Scalar", bound=np.generic)
AHEAD, LINE = 2048, 16  # elements of the weight: how long before their use cache lines are asked for, and a cache line


@dataclass(frozen=True, slots=True)
class LinearNm(LinearKernel):
    """Any weight, any number of tokens; it pays where no row keeps more than half of any window."""

    kind: ClassVar[str] = "linear_nm"
    format: ClassVar[str] = "nm"

    def lacks(self, problem: LinearProblem, isa: Isa) -> str | None:
        return f"{isa.suffix} has no instruction that permutes a vector by another" if isa.permutes is None else None

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, LinearProblem)
        assert weight is not None
        n, k, m = problem.tokens, problem.inputs, problem.outputs
        if not n or not m:
            return LoweredLayer(())
        permutation = Permutation.of(isa)
        assert permutation is not None
        rows = WindowRows.pack(weight, isa.lanes(), permutation)
        panels = -(-m // rows.lanes)
        near = max(1, min(panels, NEAR_BYTES // max(rows.nbytes // panels, 1)))
        grid = Grid(Vectors(rows.lanes), Split.by(n, most_tokens(isa)), Split(panels, panels), m, isa)
        buffers = {"x": ("f32", n * k), **rows.spec, "y": (epilogue.result, n * m)}
        buffers |= epilogue_buffers(epilogue, n * m, m)
        name = f"{self.name}_{n}x{k}x{m}_{rows.kept}of{rows.lanes}_{epilogue.tag}_{isa.suffix}"

        def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            output = Output.of(module, name, isa, grid, epilogue, memory, m, along_channels=True)
            with loop(begin, end) as unit:
                block, inside = unit // (grid.rows.parts * near), unit % (grid.rows.parts * near)
                count = minimum(near, panels - block * near)
                output.tile(
                    inside // count,
                    block * near + inside % count,
                    lambda tile: rows.sums(tile, memory),
                    lambda row, column: (row * m + column, column),
                )

        define(module, name, buffers, body)
        products = n * panels * rows.lanes * rows.windows * rows.kept
        return LoweredLayer((Call(name, tuple(buffers), grid.tiles, products),), rows.arrays)


def most_tokens(isa: Isa) -> int:
    """Tokens of a tile: each has a window and a sum in registers, beside positions, weights and what is permuted."""
    return isa.registers // 3


@dataclass(frozen=True, slots=True)
class WindowRows(Packed):
    """A weight in panels of `lanes` rows, each with `kept` values in each of its windows of `lanes` columns.

    `values` is [panels][windows][kept][lanes], `positions` is [panels][steps][words][lanes]: the columns of the values of
    a step of a few windows, side by side in words. The last window of a row ends where the row ends and so may begin in the
    one before.
    """

    inputs: int
    lanes: int
    kept: int
    permutation: Permutation
    values: NDArray[np.float32]
    positions: NDArray[np.int32]

    @classmethod
    def pack(cls, weight: Weight, lanes: int, permutation: Permutation) -> WindowRows:
        """Pack a weight of rank >= 1, whatever its pattern."""
        encoded = NofM.encode(weight, None, lanes)
        values, columns = _filled(encoded)
        if encoded.columns > lanes:
            columns[:, -1] += -encoded.columns % lanes
        across, places = _panels(values, lanes), _panels(columns, lanes)
        together = _together(encoded.kept, permutation)
        filled = np.pad(places, ((0, 0), (0, -places.shape[1] % together), (0, 0), (0, 0)))
        steps = filled.reshape(len(places), filled.shape[1] // together, together * encoded.kept, lanes)
        words = permutation.packed(steps).reshape(-1).view(np.int32)
        return cls(encoded.columns, lanes, encoded.kept, permutation, across.reshape(-1), words)

    @property
    def windows(self) -> int:
        return -(-self.inputs // self.lanes)

    @property
    def together(self) -> int:
        """Windows of a step."""
        return _together(self.kept, self.permutation)

    @property
    def words(self) -> int:
        """Integers that hold the columns of a row in a step."""
        return -(-self.kept * self.together // self.permutation.per_word)

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weight."""
        return self.values.nbytes + self.positions.nbytes

    def sums(self, tile: Tile, buffers: Mapping[str, Buffer]) -> list[ir.Value]:
        """The sums of a tile of tokens by one panel, [tokens]."""
        rows, vectors = tile.rows, tile.vectors
        ways = next(count for count in (1, 2, 4, 8, 16) if count * rows >= CHAINS or count * 2 > self.kept)
        panel = tile.column // self.lanes
        whole, left = divmod(self.windows, self.together)

        def step(number: Index, sums: Sequence[ir.Value], windows: int = self.together) -> list[ir.Value]:
            sums, first = list(sums), number * self.together
            words = self._words(buffers["positions"], panel * -(-self.windows // self.together) + number)
            for inside in range(windows):
                across = self._load(tile, buffers["x"], first + inside)
                values = self._values(buffers["values"], panel * self.windows + first + inside)
                for slot, weights in enumerate(values):
                    word, field = divmod(inside * self.kept + slot, self.permutation.per_word)
                    places = self.permutation.positions(words[word], field)
                    for row in range(rows):
                        operand = self.permutation.pick(across[row], places)
                        chain = slot % ways * rows + row
                        sums[chain] = fma(weights, operand, sums[chain])
            return sums

        sums = carry(0, whole, 1, [vectors.splat(0)] * (rows * ways), step)
        if left:
            sums = step(Index(whole), sums, left)
        return [add_up(sums[row::rows]) for row in range(rows)]

    def _load(self, tile: Tile, x: Buffer, number: Index) -> list[ir.Value]:
        """A window of each token of the tile."""
        mask = tile.vectors.mask(self.inputs) if self.inputs < self.lanes else None
        first = number * self.lanes
        if self.inputs % self.lanes:
            first = minimum(first, max(self.inputs - self.lanes, 0))
        return [tile.vectors.load(x, (tile.row + row) * self.inputs + first, mask) for row in range(tile.rows)]

    def _words(self, positions: Buffer, step: Index) -> list[ir.Value]:
        """The words of a step. Frozen, or LLVM loads the bytes of one by one that it needs."""
        each = self.words * self.lanes
        self._ask_ahead(positions, step * each, each)
        integers = Vectors(self.lanes, "i32")
        return [llvm.freeze(integers.load(positions, step * each + word * self.lanes)) for word in range(self.words)]

    def _values(self, values: Buffer, window: Index) -> Iterator[ir.Value]:
        """The values of a window, a vector for each that rows keep."""
        each = self.kept * self.lanes
        self._ask_ahead(values, window * each, each)
        for slot in range(self.kept):
            yield Vectors(self.lanes).load(values, window * each + slot * self.lanes)

    def _ask_ahead(self, packed: Buffer, at: Index, each: int) -> None:
        """Prefetch what a later step reads of an array, in proportion to its size, if its steps are not shorter than lines."""
        ahead = minimum(at + AHEAD * packed.size // self.values.size, max(packed.size - each, 0))
        for line in range(0, each if each >= LINE else 0, LINE):
            packed.prefetch(ahead + line)


def _together(kept: int, permutation: Permutation) -> int:
    """Windows whose positions share words: as many as fill one, of short windows; long ones are steps of their own."""
    return max(1, permutation.per_word // kept) if permutation.unit == 1 else 1


def _panels(rows: NDArray[Scalar], lanes: int) -> NDArray[Scalar]:
    """[panels][windows][kept][lanes] of [rows][windows][kept]; missing rows are zeros."""
    padded = np.pad(rows, ((0, -len(rows) % lanes), (0, 0), (0, 0)))
    return np.ascontiguousarray(padded.reshape(-1, lanes, *rows.shape[1:]).transpose(0, 2, 3, 1))


def _filled(encoded: NofM) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Values and positions in which groups with too few nonzeros have their last one in pieces, exactly.

    A zero instead would, in a column where the row has a nonzero, make NaN of an infinity. Where a row has no nonzero at
    all, it gets zeros in the last column of the group: products that dense has, too.
    """
    slots = np.arange(encoded.kept)
    counts = np.count_nonzero(encoded.values, axis=2)[..., None]
    last = np.maximum(counts - 1, 0)
    values, positions = (
        np.take_along_axis(each, np.minimum(slots, last), axis=2) for each in (encoded.values, encoded.positions)
    )
    pieces = encoded.kept - last
    halvings = np.where(slots < last, 0, np.minimum(slots - last + 1, pieces - 1))
    behind = np.minimum(encoded.columns - np.arange(encoded.values.shape[1]) * encoded.of, encoded.of)
    return np.ldexp(values, -halvings).astype(np.float32), np.where(counts, positions, behind[:, None] - 1)
