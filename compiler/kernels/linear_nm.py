"""Linear layer whose rows keep few nonzeros in each window of columns: vectors along outputs, x is permuted to them.

A window is as many columns as a vector has lanes. Each token's window is loaded once; for every value that the rows keep
in it, each lane, an output, picks its own column of the window by a permutation of registers. So x and y stay
token-major, and the limit is the permutations beside the multiply-adds: where two units multiply and two permute, one of
them both, three vectors of products take two cycles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects import arith, llvm, vector

from sparsec.formats.nm import NofM
from sparsec.kernels.arithmetic import F32
from sparsec.kernels.emit import Buffer, Vectors, add_up, carry, define, epilogue_buffers, fma, loop
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import AVX2, AVX512, Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.split import Split
from sparsec.kernels.store import Output
from sparsec.kernels.tile import CHAINS, Grid, Tile
from sparsec.kernels.words import refusal

PERMUTE = {AVX512.suffix: "llvm.x86.avx512.permvar.sf.512", AVX2.suffix: "llvm.x86.avx2.permps"}
FIELD = 4  # bits of a position in a window: permutations ignore the bits above, so the next is one shift away
PER_WORD = 32 // FIELD
NEAR_BYTES = 3 << 17  # of weights whose panels meet a tile of tokens one after the other
AHEAD, LINE = 2048, 16  # elements of the weight: how long before their use cache lines are asked for, and a cache line


@dataclass(frozen=True, slots=True)
class LinearNm:
    """Any weight, any number of tokens; it pays where no row keeps more than half of any window."""

    name: str = "f32_linear_nm"
    format: str = "nm"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if not isinstance(problem, LinearProblem):
            return "only linear layers"
        if isa.suffix not in PERMUTE:
            return f"{isa.suffix} has no instruction that permutes a vector by another"
        return refusal(problem.arithmetic, F32, isa)

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, LinearProblem)
        assert weight is not None
        n, k, m = problem.tokens, problem.inputs, problem.outputs
        if not n or not m:
            return LoweredLayer(())
        rows = WindowRows.pack(weight, isa.lanes())
        panels = -(-m // rows.lanes)
        near = max(1, min(panels, NEAR_BYTES // max(4 * rows.panel, 1)))
        grid = Grid(Vectors(rows.lanes), Split.by(n, most_tokens(isa)), Split(panels, panels), m, isa)
        buffers = {"x": ("f32", n * k), "weight": ("i32", rows.packed.size), "y": (epilogue.result, n * m)}
        buffers |= epilogue_buffers(epilogue, n * m, m)
        name = f"{self.name}_{n}x{k}x{m}_{rows.kept}of{rows.lanes}_{epilogue.tag}_{isa.suffix}"

        def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            output = Output.of(isa, grid, epilogue, memory, m, along_channels=True)
            with loop(begin, end) as unit:
                block, inside = unit // (grid.rows.parts * near), unit % (grid.rows.parts * near)
                count = minimum(near, panels - block * near)
                output.tile(
                    inside // count,
                    block * near + inside % count,
                    lambda tile: rows.sums(tile, memory, PERMUTE[isa.suffix]),
                    lambda row, column: (row * m + column, column),
                )

        define(module, name, buffers, body)
        products = n * panels * rows.lanes * rows.windows * rows.kept
        return LoweredLayer((Call(name, tuple(buffers), grid.tiles, products),), {"weight": rows.packed})


def most_tokens(isa: Isa) -> int:
    """Tokens of a tile: each has a window and a sum in registers, beside positions, weights and what is permuted."""
    return isa.registers // 3


@dataclass(frozen=True, slots=True)
class WindowRows:
    """A weight in panels of `lanes` rows, each with `kept` values in each of its windows of `lanes` columns.

    `packed` is [panels][windows][words + kept][lanes]: first the columns, that of value i of a window in field i of its
    words, then the bits of the values. The last window of a row ends where the row ends and so may begin in the one before.
    """

    inputs: int
    lanes: int
    kept: int
    packed: NDArray[np.int32]

    @classmethod
    def pack(cls, weight: Weight, lanes: int) -> WindowRows:
        """Pack a weight of rank >= 1, whatever its pattern."""
        encoded = NofM.encode(weight, None, lanes)
        values, columns = _filled(encoded)
        if encoded.columns > lanes:
            columns[:, -1] += -encoded.columns % lanes
        words = -(-encoded.kept // PER_WORD)
        fields = np.pad(columns, ((0, 0), (0, 0), (0, -encoded.kept % PER_WORD))).astype(np.uint32)
        shifted = fields.reshape(*columns.shape[:2], words, PER_WORD) << np.arange(PER_WORD, dtype=np.uint32) * FIELD
        rows = np.concatenate([np.bitwise_or.reduce(shifted, axis=3), values.view(np.uint32)], axis=2)
        padded = np.pad(rows, ((0, -len(rows) % lanes), (0, 0), (0, 0)))
        panels = padded.reshape(-1, lanes, *rows.shape[1:]).transpose(0, 2, 3, 1)
        return cls(encoded.columns, lanes, encoded.kept, np.ascontiguousarray(panels).reshape(-1).view(np.int32))

    @property
    def windows(self) -> int:
        return -(-self.inputs // self.lanes)

    @property
    def words(self) -> int:
        """Integers that hold the columns of a row in a window."""
        return -(-self.kept // PER_WORD)

    @property
    def window(self) -> int:
        """Elements of a window of a panel."""
        return (self.words + self.kept) * self.lanes

    @property
    def panel(self) -> int:
        """Elements of a panel."""
        return self.windows * self.window

    def sums(self, tile: Tile, buffers: Mapping[str, Buffer], permute: str) -> list[ir.Value]:
        """The sums of a tile of tokens by one panel, [tokens]; `permute` is an intrinsic."""
        rows, vectors = tile.rows, tile.vectors
        ways = next(count for count in (1, 2, 4, 8, 16) if count * rows >= CHAINS or count * 2 > self.kept)
        panel = tile.column // self.lanes * self.panel

        def window(number: Index, sums: Sequence[ir.Value]) -> list[ir.Value]:
            sums = list(sums)
            across = self._load(tile, buffers["x"], number)
            here = panel + number * self.window
            ahead = minimum(here + AHEAD, self.packed.size - self.window)
            for line in range(0, self.window, LINE):
                buffers["weight"].prefetch(ahead + line)
            for slot, (columns, weights) in enumerate(self._slots(buffers["weight"], here)):
                for row in range(rows):
                    operand = llvm.call_intrinsic(vectors.type, permute, [across[row], columns], [], [])
                    chain = slot % ways * rows + row
                    sums[chain] = fma(weights, operand, sums[chain])
            return sums

        sums = carry(0, self.windows, 1, [vectors.splat(0)] * (rows * ways), window)
        return [add_up(sums[row::rows]) for row in range(rows)]

    def _load(self, tile: Tile, x: Buffer, number: Index) -> list[ir.Value]:
        """A window of each token of the tile."""
        mask = tile.vectors.mask(self.inputs) if self.inputs < self.lanes else None
        first = tile.row * self.inputs + minimum(number * self.lanes, max(self.inputs - self.lanes, 0))
        return [tile.vectors.load(x, first + row * self.inputs, mask) for row in range(tile.rows)]

    def _slots(self, weight: Buffer, at: Index) -> Iterator[tuple[ir.Value, ir.Value]]:
        """The columns and the values of the window at element `at`, one vector of each for every kept value."""
        integers, floats = Vectors(self.lanes, "i32"), Vectors(self.lanes)
        for slot in range(self.kept):
            place, field = divmod(slot, PER_WORD)
            word = integers.load(weight, at + place * self.lanes)
            columns = arith.shrui(word, integers.splat(field * FIELD)) if field else word
            yield columns, vector.bitcast(floats.type, integers.load(weight, at + (self.words + slot) * self.lanes))


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
