"""Bank streams: a matrix of few nonzeros, most of them by three bytes each, as lanes scatter them into shared memory.

A matrix is cut into blocks of 256 rows and steps of 64 columns, a step of a block into tiles of 128 rows, as `wgmma` reads
them from shared memory: rows of 128 bytes, whose 16 bytes c lie at c ^ row % 8. That is 128 lines of 32 banks of two elements.
A warp scatters a tile; lane l has elements of bank l, so that lanes never share one: `main` of them, every other one in the
lower half of its bank; of each the value and its line. What a bank has more is in rounds of points as in `coo_streams`, 32 of
any banks. Rounds and lanes that are not full have the tile's, or the half bank's, first element again.

A tile, in units of 64 bytes: `main` of values, two of each lane in a word, that of the lower half first; main / 2 of places,
those of two values in 14 bits, the first in the upper seven; two for each round of points.

Bytes per element: about 3.4 x density at a tenth of nonzeros, 3.3 at a fifth. A warp takes as many cycles as the fullest bank
has nonzeros: in tiles of 64 rows a tenth more, and a twentieth more bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.products.device_cost import Kernel
from sparsec.cuda.streams.coo_streams import LANES, in_rounds
from sparsec.cuda.streams.partition import Partition, deal, nonzeros

SCATTERERS = 8  # warps of a worker, which take tiles in turns
SIDE = 64  # columns of a step
HEIGHT = 128  # rows of a tile
TILES = 2  # of a step
MAIN = 0.9  # of the nonzeros that a half bank has on average
DENSEST = 0.22  # that `coo_wgmma` is for
HALVES = 2  # for which partitions have blocks of 256 rows
MOST_BYTES = 7500  # of a tile, for which there is shared memory with any number of tokens

Bits = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class BankStreams:
    """A matrix [m, k] of 16-bit floating-point numbers, kept as bits.

    `units` is uint16 [units, 32]. `offsets` says where tiles begin: those of a worker's first warp, in order, then those of
    its second, and so on. A tile has from `least` to `rounds` rounds of points.
    """

    kernel: ClassVar[Kernel] = "coo_wgmma"

    m: int
    k: int
    main: int
    least: int
    rounds: int
    nnz: int
    partition: Partition
    offsets: NDArray[np.uint32]
    units: NDArray[np.uint16]

    @classmethod
    def encode(cls, weight: Bits, workers: int) -> BankStreams:
        """Encode the bits of a matrix [m, k] for a GPU with so many multiprocessors; both zeros are dropped."""
        m, k = weight.shape
        nnz = int(np.count_nonzero(weight << 1))
        main = 2 * max(1, int(MAIN * nnz / (m * k) * HEIGHT))
        partition = deal(np.float64(4.0) * nonzeros(weight, SIDE, HALVES) + TILES * HEIGHT * SIDE / 2, workers, HALVES)

        def worker(number: int) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
            pieces = (partition.piece(weight, SIDE, *part) for part in partition.parts(number))
            tiles = np.concatenate([_tiles(piece) for piece in pieces])
            tiles[tiles == 0x8000] = 0
            return _streams(tiles[_in_turns(len(tiles))], main)

        with ThreadPoolExecutor() as pool:
            found = list(pool.map(worker, range(partition.workers)))
        sizes = np.concatenate([sizes for _, sizes in found])
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.uint32)
        more = (sizes - main * 3 // 2) // 2
        units = np.concatenate([units for units, _ in found])
        return cls(m, k, main, int(more.min()), int(more.max()), nnz, partition, offsets, units)

    def decode(self) -> Bits:
        """The matrix, by doing what the kernel does."""

        def pieces(worker: int) -> list[Bits]:
            first, last = (self.partition.cuts[worker : worker + 2] * TILES).tolist()
            tiles = np.empty((last - first, HEIGHT * SIDE), dtype=np.uint16)
            tiles[_in_turns(last - first)] = self._scattered(first, last)
            return [_piece(each) for each in self.partition.split(worker, tiles, axis=0)]

        return self.partition.whole(np.empty((self.m, self.k), dtype=np.uint16), SIDE, pieces)

    def _scattered(self, first: int, last: int) -> Bits:
        """Some tiles [tiles, elements]."""
        begins, sizes = (
            self.offsets[first:last].astype(np.int64),
            np.diff(self.offsets[first : last + 1]).astype(np.int64),
        )
        fixed, count = self.main * 3 // 2, last - first
        units = self.units[begins[:, None] + np.arange(fixed)]
        values = units[:, : self.main].reshape(count, -1, LANES, 2)
        places = _unpacked(units[:, self.main :])
        tiles = np.zeros((count, HEIGHT * SIDE), dtype=np.uint16)
        inside = places * np.uint16(2 * LANES) + np.arange(2 * LANES, dtype=np.uint16).reshape(LANES, 2)
        tiles[np.arange(count)[:, None, None, None], inside] = values
        rounds = (sizes - fixed) // 2
        number = np.arange(int(rounds.sum())) - np.repeat(np.cumsum(rounds) - rounds, rounds)
        at = np.repeat(begins + fixed, rounds) + 2 * number
        points = self.units[at[:, None] + np.arange(2)].reshape(-1, 2 * LANES).view(np.uint32)
        tiles[np.repeat(np.arange(count), rounds)[:, None], points >> 17] = points & 0xFFFF
        return tiles

    @property
    def even(self) -> bool:
        """Whether no part of the matrix is so much denser than the rest that its tiles are too large."""
        return self.tile_bytes <= MOST_BYTES

    @property
    def tile_bytes(self) -> int:
        """Of a tile, at most."""
        return 96 * self.main + 128 * self.rounds

    @property
    def macros(self) -> Mapping[str, int]:
        """What the kernel is to be compiled with for this matrix."""
        return {"MAIN": self.main, "LEAST": self.least, "ROUNDS": self.rounds}

    @property
    def steps(self) -> int:
        """Of a row block."""
        return -(-self.k // SIDE)

    @property
    def nbytes(self) -> int:
        """Bytes that a product reads."""
        return self.units.nbytes + self.offsets.nbytes

    def heads(self) -> NDArray[np.uint32]:
        """For the kernel, [workers, SCATTERERS, 4]: each warp's first offsets, its last one again if it has fewer."""
        begins, tiles = self.partition.cuts[:-1, None] * TILES, np.diff(self.partition.cuts)[:, None] * TILES
        warps = np.arange(SCATTERERS)
        firsts = begins + warps * (tiles // SCATTERERS) + np.minimum(warps, tiles % SCATTERERS)
        counts = (tiles - warps + SCATTERERS - 1) // SCATTERERS
        found: NDArray[np.uint32] = self.offsets[firsts[..., None] + np.minimum(np.arange(4), counts[..., None])]
        return found


def _in_turns(count: int) -> NDArray[np.intp]:
    """The tiles of a worker's first warp, then those of its second, ..."""
    return np.argsort(np.arange(count) % SCATTERERS, kind="stable")


def _tiles(piece: Bits) -> Bits:
    """The tiles [tiles, elements] of 256 rows and some steps' columns."""
    return _swizzled(piece.reshape(TILES, HEIGHT, -1, SIDE).transpose(2, 0, 1, 3)).reshape(-1, HEIGHT * SIDE)


def _piece(tiles: Bits) -> Bits:
    """The inverse of `_tiles`."""
    rows = _swizzled(tiles.reshape(-1, TILES, HEIGHT, SIDE))
    return rows.transpose(1, 2, 0, 3).reshape(TILES * HEIGHT, -1)


def _swizzled(rows: Bits) -> Bits:
    """Tiles [.., rows, 64] with the 16 bytes c of a row at c ^ row % 8; its own inverse."""
    chunks = np.ascontiguousarray(rows).view("V16").reshape(-1, 8, 8)
    found = np.empty_like(chunks)
    for row in range(8):
        found[:, row] = chunks[:, row, np.arange(8) ^ row]
    return found.view(np.uint16).reshape(rows.shape)


def _streams(tiles: Bits, main: int) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """The units of tiles [tiles, elements], and how many each has."""
    lines = tiles.reshape(len(tiles), HEIGHT, LANES, 2)
    nonzero = np.ascontiguousarray((lines << 1 != 0).transpose(0, 3, 2, 1))  # half, bank, line
    rank = np.cumsum(nonzero, axis=3, dtype=np.int16) - 1
    kept = nonzero & (rank < main // 2)
    values = np.broadcast_to(lines[:, None, 0], (len(tiles), main // 2, LANES, 2)).copy()
    places = np.zeros(values.shape, dtype=np.uint16)
    tile, half, bank, line = np.nonzero(kept)
    where = tile, rank[tile, half, bank, line], bank, half
    values[where] = lines[tile, line, bank, half]
    places[where] = line
    fixed = np.concatenate([values.reshape(len(tiles), -1, LANES), _packed(places)], axis=1)
    rest = np.where(kept.transpose(0, 3, 2, 1), 0, lines).reshape(len(tiles), -1)
    points, counts = in_rounds(rest, 0, tiles[:, 0].astype(np.uint32))
    sizes = fixed.shape[1] + 2 * counts
    begins = np.cumsum(sizes) - sizes
    units = np.empty((int(sizes.sum()), LANES), dtype=np.uint16)
    units[begins[:, None] + np.arange(fixed.shape[1])] = fixed
    number = np.arange(len(points)) - np.repeat(np.cumsum(counts) - counts, counts)
    at = np.repeat(begins + fixed.shape[1], counts) + 2 * number
    units[at[:, None] + np.arange(2)] = points.view(np.uint16).reshape(-1, 2, LANES)
    return units, sizes


def _packed(places: Bits) -> Bits:
    """Units [tiles, n, 32] of places [tiles, n, 32, 2]: two neighbours of a lane's in a word, a last one alone."""
    pairs = places[..., 0] << 7 | places[..., 1]
    count, even = len(pairs), pairs.shape[1] // 2 * 2
    words = pairs[:, :even].reshape(count, -1, 2, LANES).swapaxes(2, 3)
    return np.concatenate([words.reshape(count, even, LANES), pairs[:, even:]], axis=1)


def _unpacked(units: Bits) -> Bits:
    """The inverse of `_packed`."""
    count, even = len(units), units.shape[1] // 2 * 2
    words = units[:, :even].reshape(count, -1, LANES, 2).swapaxes(2, 3)
    pairs = np.concatenate([words.reshape(count, even, LANES), units[:, even:]], axis=1)
    return np.stack([pairs >> 7, pairs & 127], axis=-1)
