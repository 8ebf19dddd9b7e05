"""Coordinate streams: a matrix of few nonzeros, each with its place in a tile, as lanes scatter them.

A warp has 32 rows and 32 columns of a step. A batch of its steps, at most 1, 2 or 4, is a tile: rounds of 32 points, one for each
lane: 16 bits of the nonzero, then 16 bits of its byte in the tile as the warp keeps it in shared memory. Points are in an
order in which those of a round have banks of their own as far as can be; the last round is filled with zeros that go
behind the tile.

In the tile lie fragments of `mma.m16n8k16`, for each 32 columns (16 columns: kt; 16 rows: mt), 16 bytes for a lane: with
g = lane / 4, t = lane % 4, register 2 h + i is of row g + 8 i and columns 2 t + 8 h, + 1.

Bytes per element: 4 x density, half a round for each tile, and up to a tile at the end of a part, which may be narrower.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.products.device_cost import Kernel
from sparsec.cuda.streams.partition import ROWS, WARPS, Partition, deal, halves_for, nonzeros
from sparsec.cuda.streams.uneven_steps import Bits, Offsets, UnevenSteps

LANES = 32
WORD = 32  # columns
PAD = 128  # bytes behind a tile, for points that are none
DENSEST = 0.12  # for which this is faster than lane streams
MOST_ROUNDS = 20  # of a tile, for which a lane has registers
POINTS = 435  # that a tile should have at most, on average
WORDS = (4, 2, 1)  # of 32 columns in a tile


@dataclass(frozen=True, slots=True)
class CooStreams(UnevenSteps):
    """A matrix [m, k] of 16-bit floating-point numbers, kept as bits.

    `units` is uint32 [rounds, 32]. A tile has from `least` to `rounds` rounds.
    """

    kernel: ClassVar[Kernel] = "coo_mma"
    columns: ClassVar[int] = WORD

    units: NDArray[np.uint32]
    least: int
    rounds: int
    nnz: int

    @classmethod
    def encode(cls, weight: Bits, workers: int, widest: int = WORDS[0]) -> CooStreams:
        """Encode the bits of a matrix [m, k] for a GPU with so many multiprocessors; both zeros are dropped.

        `widest` is the most steps that a batch may have: 2 for GPUs with little shared memory.
        """
        m, k = weight.shape
        nnz = int(np.count_nonzero(weight << 1))
        density = nnz / (m * k)
        fitting = [words for words in WORDS if words <= widest]
        words = next((each for each in fitting if density * each * ROWS * WORD <= POINTS), WORDS[-1])
        least = int(0.92 * density * words * WORD)
        halves = halves_for(m, k, workers)
        partition = deal(_costs(weight, halves), workers, halves, words)
        with ThreadPoolExecutor() as pool:
            parts = map(partition.parts, range(partition.workers))
            found = list(pool.map(lambda each: _streams(_tiles(weight, partition, each), least), parts))
        counts = np.concatenate([counts for _, counts in found])
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32)
        units = np.concatenate([points for points, _ in found])
        rounds = int(max(1, counts.max()))
        return cls(m, k, partition, offsets, units, least, rounds, nnz)

    def decode(self) -> Bits:
        """The matrix."""
        return self.whole(self._read, _piece)

    def _read(self, offsets: Offsets) -> Bits:
        """The tiles of a worker, [warps, batches, elements], by doing what the kernel does."""
        points, count = self.units[offsets[0] : offsets[-1]], len(offsets) - 1
        tile = np.repeat(np.arange(count), np.diff(offsets))
        area = np.zeros((count, (self._tile_bytes + PAD) // 2), dtype=np.uint16)
        area[tile[:, None], points >> 17] = points & 0xFFFF
        return area[:, : -PAD // 2].reshape(WARPS, count // WARPS, -1)

    @property
    def even(self) -> bool:
        """Whether no part of the matrix is much denser than the rest."""
        return self.rounds <= MOST_ROUNDS

    @property
    def macros(self) -> Mapping[str, int]:
        """What the kernel is to be compiled with for this matrix."""
        return {"WORDS": self.partition.batch, "LEAST": self.least, "ROUNDS": self.rounds, "UNITS": 0}

    @property
    def _tile_bytes(self) -> int:
        return ROWS * WORD * self.partition.batch * 2

    def block_bytes(self, tiles: int) -> tuple[int, int]:
        """Shared memory of a block with sums of so many tiles of tokens, and of a warp in it."""
        own = max(self._tile_bytes + PAD, -(-self.partition.area_bytes(tiles) // PAD) * PAD)
        return 128 + WARPS * own, own


def _costs(weight: Bits, halves: int) -> NDArray[np.float64]:
    """Bytes of each step of each block, and half a byte per element for loading it: [blocks, steps]."""
    rows, step = ROWS * WARPS // halves, WORD * halves
    return np.float64(4.0) * nonzeros(weight, step, halves) + rows * step / 4


def _tiles(weight: Bits, partition: Partition, parts: list[tuple[int, int, int]]) -> Bits:
    """The tiles of a worker: [warps * batches, elements], zero outside of the matrix and the part."""
    groups, halves, words = partition.groups, partition.halves, partition.batch
    pieces = []
    for piece in partition.batched(weight, WORD * halves, parts):
        # group, mt, i, g | batch, word, half, kt, h, t, column % 2
        split = piece.reshape(groups, 2, 2, 8, -1, words, halves, 2, 2, 4, 2)
        ordered = split.transpose(6, 0, 4, 5, 7, 1, 3, 9, 8, 2, 10)
        pieces.append(ordered.reshape(WARPS, -1, ROWS * WORD * words))
    return np.concatenate(pieces, axis=1).reshape(-1, ROWS * WORD * words)


def _piece(tiles: Bits, partition: Partition) -> Bits:
    """The rows of a block for batches [WARPS, batches, elements]; the inverse of `_tiles`."""
    groups, halves, batches = partition.groups, partition.halves, tiles.shape[1]
    # half, group, batch, word, kt, mt, g, t, h, i, column % 2
    split = tiles.reshape(halves, groups, batches, partition.batch, 2, 2, 8, 4, 2, 2, 2)
    return split.transpose(1, 5, 9, 6, 2, 3, 0, 4, 8, 7, 10).reshape(partition.rows, -1)


def _streams(tiles: Bits, least: int) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The rounds of tiles, [rounds, 32], and how many each tile has; the last ones are filled up behind the tile."""
    return in_rounds(tiles, least, np.full(len(tiles), tiles.shape[1] << 17, dtype=np.uint32))


def in_rounds(tiles: Bits, least: int, fill: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The points of the nonzeros of tiles, in rounds [rounds, 32], and how many each tile has, at least so many; rounds that
    are not full are filled up with the tile's own of `fill`."""
    nonzero = (tiles << 1) != 0
    by_bank = nonzero.reshape(len(tiles), -1, 32, 2).swapaxes(1, 2).reshape(len(tiles), 32, -1)
    loads = by_bank.sum(axis=2, dtype=np.int64)
    counts = np.maximum(-(-loads.sum(axis=1) // LANES), least)
    begins = np.cumsum(counts) - counts
    tile, bank, at = np.nonzero(by_bank)
    places = at // 2 * 64 + bank * 2 + at % 2
    firsts = (np.cumsum(loads) - loads.ravel()).reshape(loads.shape)
    turns = _turns(loads, counts)[tile, bank, np.arange(len(tile)) - firsts[tile, bank]]
    own = begins[tile] + turns
    order = np.argsort(own, kind="stable")
    sizes = np.bincount(own, minlength=int(counts.sum()))
    lanes = np.arange(len(tile)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    tile, places, own = tile[order], places[order], own[order]
    points = np.repeat(fill, counts)[:, None].repeat(LANES, axis=1)
    points[own, lanes] = tiles[tile, places].astype(np.uint32) | places.astype(np.uint32) << 17
    return points, counts


def _turns(loads: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int16]:
    """For banks with so many points, [tiles, 32], the round of each: [tiles, 32, points of a bank].

    Each round takes from the fullest banks, as few from one as leaves no more than can be had from it later.
    """
    left = loads.copy()
    turns = np.zeros((*loads.shape, max(1, int(loads.max(initial=0)))), dtype=np.int16)
    number = np.arange(turns.shape[2])
    for done in range(int(counts.max(initial=0))):
        most = -(-left.max(axis=1) // np.maximum(counts - done, 1))
        order = np.argsort(-left, axis=1)
        wanted = np.minimum(np.take_along_axis(left, order, axis=1), most[:, None])
        before = np.cumsum(wanted, axis=1) - wanted
        taken = np.empty_like(left)
        np.put_along_axis(taken, order, np.clip(LANES - before, 0, wanted), axis=1)
        left -= taken
        turns += number >= (loads - left)[:, :, None]
    return turns
