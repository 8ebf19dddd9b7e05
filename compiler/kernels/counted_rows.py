"""Unstructured sparse rows, alone or bundled, in blocks of columns, walked four nonzeros at a time.

What limits such a kernel is loads: one of x for the multiply-adds of a column, and besides them as few as possible. So
four offsets of 16 bits are one load, four weights of a single row are another, and blocks of columns are small enough
that x comes from the level-1 cache. Visits are sorted by their count of nonzeros modulo four and then by count, so that
loops run alike from one visit to the next and the odd nonzeros need no loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.blocked import Blocked
from sparsec.kernels.counted_walk import LINE, STEP, Store, Walk
from sparsec.kernels.emit import Buffer, carry
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.packed import Packed
from sparsec.kernels.row_tile import RowTile
from sparsec.kernels.sparse_rows import ramps
from sparsec.kernels.words import Encoded, Words

OFFSETS = 1 << 16  # elements of x in a block
MOST_AHEAD = 16  # lines that a visit asks for; the streams of longer visits are found by hardware


def step_of(isa: Isa) -> int:
    """Nonzeros that are added at a time: one where all that a loop's body loads must be in registers at once."""
    return 1 if isa.early_loads else STEP


class Runs(Protocol):
    """Nonzeros that lie in the same columns of some rows: a run of nonzeros of one row, or of bundled rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape: a matrix [first dimension, the rest]."""

    @property
    def members(self) -> NDArray[np.int64]:
        """The rows of each run, [runs, height]; all of one group."""

    @property
    def counts(self) -> NDArray[np.int32]:
        """Columns of each run."""

    @property
    def columns(self) -> NDArray[np.integer]:
        """The columns of all runs, rising inside a run."""

    @property
    def values(self) -> Encoded:
        """Their weights, [columns, height]; [columns] of single rows."""


@dataclass(frozen=True, slots=True)
class WordRuns:
    """The words of single rows as `Runs`: what is a column there is a word of x here."""

    shape: tuple[int, ...]
    members: NDArray[np.int64]
    counts: NDArray[np.int32]
    columns: NDArray[np.int32]
    values: Encoded

    @classmethod
    def of(cls, blocked: Blocked, words: Words) -> WordRuns:
        """Of a weight in blocks of one row and one word."""
        shape = (blocked.rows, words.count(math.prod(blocked.shape[1:])))
        members = np.arange(blocked.rows)[:, None]
        return cls(shape, members, blocked.counts, blocked.columns, words.encode_blocks(blocked))


@dataclass(frozen=True, slots=True)
class CountedRows(Packed):
    """The nonzeros of runs, group of rows by group and block of columns by block.

    Nonzero i has `height` weights from `values[i * height]` on and reads x at `offsets[i]` elements from its block's first
    column. A visit adds `step * steps[j]` + r nonzeros to the rows `slots[j * height] ...` of its group; the visits of block b
    of group g with remainder r are [bounds[n], bounds[n + 1]) with n = (g * blocks + b) * step + r. The nonzeros of group g
    begin at `starts[g]`; `step` of them are added at a time.
    """

    values: Encoded
    offsets: NDArray[np.uint16]
    slots: NDArray[np.uint16]
    steps: NDArray[np.uint16]
    bounds: NDArray[np.int32]
    starts: NDArray[np.int32]
    height: int
    columns: int
    width: int
    blocks: int
    step: int
    whole: bool
    early: bool

    @classmethod
    def pack(
        cls,
        runs: Runs,
        groups: NDArray[np.int64],
        *,
        columns: int,
        width: int,
        whole: bool = False,
        step: int = STEP,
        early: bool = False,
    ) -> CountedRows:
        """Rows [groups[g], groups[g + 1]) are a group; a block has so many `columns`, `width` elements of x apart.

        If `whole`, the first and the last block visit all runs, also where these have no nonzeros. If `early`, offsets are
        loaded a step before they are used.
        """
        height = runs.members.shape[1]
        values = runs.values.reshape(-1, height)
        blocks = max(1, -(-math.prod(runs.shape[1:]) // columns))
        run = np.repeat(np.arange(len(runs.counts)), runs.counts)
        block, inside = np.divmod(runs.columns.astype(np.int64), columns)
        visited, first, counts = np.unique(run * blocks + block, return_index=True, return_counts=True)
        if whole:
            visited, first, counts = _with_ends(visited, first, counts, len(runs.counts), blocks)
        members = runs.members[visited // blocks]
        group = np.searchsorted(groups, members[:, 0], side="right") - 1
        bucket = (group * blocks + visited % blocks) * step + counts % step
        order = np.lexsort((-counts, bucket))
        source = np.repeat(first[order], counts[order]) + ramps(counts[order])
        bounds = np.searchsorted(bucket[order], np.arange((len(groups) - 1) * blocks * step + 1))
        behind = np.concatenate([[0], np.cumsum(counts[order])])
        slots = (members - groups[group][:, None])[order]
        return cls(
            np.concatenate([values[source].reshape(-1), np.zeros(step * height, dtype=values.dtype)]),
            np.concatenate([inside[source] * width, np.zeros(step, dtype=np.int64)]).astype(np.uint16),
            np.concatenate([slots.reshape(-1), [0]]).astype(np.uint16),
            np.concatenate([counts[order] // step, [0]]).astype(np.uint16),
            bounds.astype(np.int32),
            behind[bounds[:: blocks * step]].astype(np.int32),
            height,
            columns,
            width,
            blocks,
            step,
            whole,
            early,
        )

    @property
    def ahead(self) -> int:
        """Cache lines of weights that a visit asks for ahead of their use: as many as it uses itself.

        Hardware alone is late with weights that come from behind level-2 cache, as those of most networks do.
        """
        return min(max(self.values.nbytes // (4 * LINE * len(self.steps)), 1), MOST_AHEAD)

    @property
    def tag(self) -> str:
        """What the generated code depends on besides the sizes in `spec`."""
        step = f" {self.step}" if self.step != STEP else ""
        return f"counted {self.height} {self.columns} {self.blocks}{step} {self.ahead}"

    @property
    def adds(self) -> bool:
        return not self.whole

    def emit(self, buffers: Mapping[str, Buffer], tile: RowTile) -> None:
        """Add the nonzeros of a group to the sums of a tile, or leave their sums there if these are `whole`."""
        if self.whole:
            self.emit_whole(buffers, tile, lambda number: tile.base + number * (self.columns * self.width), None)
            return

        def block(number: Index, carried: list[ir.Value]) -> list[ir.Value]:
            here = tile.base + number * (self.columns * self.width)
            return [self._block(self._walk(buffers, tile), number, carried[0], here)]

        carry(0, self.blocks, 1, [self._begin(buffers, tile)], block)

    def emit_whole(
        self,
        buffers: Mapping[str, Buffer],
        tile: RowTile,
        load: Callable[[Index], Index],
        store: Store | None,
        beside: Sequence[tuple[CountedRows, Mapping[str, Buffer]]] = (),
    ) -> None:
        """Give `store` the sums of each row of a group, or leave them in the tile, which is also used between blocks.

        The rows must be packed `whole`. `load(b)` tells at which element of the tile's source the columns of block b begin.
        Other parts of the weight `beside`, in as wide blocks and with their own buffers, add to sums that must be zero.
        """
        last = self.blocks - 1 if store is not None else self.blocks

        def block(number: Index, carried: list[ir.Value]) -> list[ir.Value]:
            first, final, here = number.known == 0, number.known == last, load(number)
            walks = [part._walk(own, tile) for part, own in beside]
            walks.append(self._walk(buffers, tile, fresh=first and not beside, store=store if final else None))
            return [
                part._block(walk, number, at, here)
                for part, walk, at in zip([*(part for part, _ in beside), self], walks, carried, strict=True)
            ]

        at = block(Index(0), [*(part._begin(own, tile) for part, own in beside), self._begin(buffers, tile)])
        if last > 1:
            at = carry(1, last, 1, at, block)
        if last and store is not None:
            block(Index(last), at)

    def _walk(
        self, buffers: Mapping[str, Buffer], tile: RowTile, *, fresh: bool = False, store: Store | None = None
    ) -> Walk:
        return Walk(buffers, tile, self.height, self.step, self.ahead, self.early, fresh, store)

    def _begin(self, buffers: Mapping[str, Buffer], tile: RowTile) -> ir.Value:
        """Where the nonzeros of the group begin."""
        return buffers["starts"].load_index(tile.group).value

    def _block(self, walk: Walk, number: Index, at: ir.Value, here: Index) -> ir.Value:
        for rest in range(self.step):
            at = walk.bucket((walk.tile.group * self.blocks + number) * self.step + rest, at, rest, here)
        return at


def _with_ends(
    visited: NDArray[np.int64], first: NDArray[np.int64], counts: NDArray[np.int64], runs: int, blocks: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The visits, and empty ones of runs that the first or the last block has not."""
    ends = np.arange(runs)[:, None] * blocks + [0, blocks - 1]
    empty = np.setdiff1d(ends, visited)
    order = np.argsort(np.concatenate([visited, empty]))
    nothing = np.zeros_like(empty)
    return (
        np.concatenate([visited, empty])[order],
        np.concatenate([first, nothing])[order],
        np.concatenate([counts, nothing])[order],
    )
