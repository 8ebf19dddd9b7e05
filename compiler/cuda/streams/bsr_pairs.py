"""Block pairs: a matrix of strips of 32 rows of which only those units of 64 columns with a nonzero are kept, in the order
`bsr_pairs_wgmma` takes them.

Two strips are a pair, as tensor cores multiply by 64 rows: those that have units in the same columns, wherever they are in
the matrix, so that as few rows as possible are multiplied by zeros. Up to three pairs are a row tile. Its pieces are the
columns in which at least one of its strips has a unit, and its units those of the first piece, strip after strip, then those of
the next.

A unit lies as it is copied to shared memory: of row r, the 16 bytes c lie at c ^ (r % 8), which is the 128-byte swizzle of
the matrix descriptors of `wgmma`. It is the format for blocks of 64 x 64 and larger ones, which are several units; where
blocks are smaller or begin elsewhere, units have zeros in them. Bytes per element of a unit: 2.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE, WIDTH = 32, 64  # rows and columns of a unit
GROUPS = 3  # pairs of a row tile
UNIT_BYTES = 2 * SIDE * WIDTH
TILE = np.dtype([("first_piece", np.int32), ("pieces", np.int32), ("first_unit", np.int32), ("unused", np.int32),
                 ("strips", np.int32, 2 * GROUPS)])  # fmt: skip

_SWIZZLED = (np.arange(8) ^ np.arange(SIDE)[:, None] % 8)[None, :, :, None]  # of 16 bytes; its own inverse

Bits = NDArray[np.uint16]
Kept = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BlockPairs:
    """A matrix [m, k] of 16-bit floating-point numbers, kept as bits.

    `tiles` is TILE [row tiles], whose strips are negative where there is
    none; `pieces` uint32 [pieces], the column in units, and from bit 16 on a bit for each strip of the tile that has a unit
    there; `units` uint8 [units, 4096].
    """

    m: int
    k: int
    tiles: NDArray[np.void]
    pieces: NDArray[np.uint32]
    units: NDArray[np.uint8]

    @classmethod
    def encode(cls, weight: Bits) -> BlockPairs:
        """Encode the bits of a matrix [m, k]; units of nothing but zeros of either sign are dropped."""
        m, k = weight.shape
        strips = range(-(-m // SIDE))
        with ThreadPoolExecutor() as pool:
            kept = np.stack(list(pool.map(lambda strip: _kept(weight, strip), strips)))
            tiles, pieces, where = _tiles(kept)
            units = np.empty((len(where), UNIT_BYTES), dtype=np.uint8)

            def fill(strip: int) -> None:
                own = np.flatnonzero(where[:, 0] == strip)
                units[own] = _units(_blocks(weight, strip)[:, where[own, 1]])

            list(pool.map(fill, strips))
        return cls(m, k, tiles, pieces, units)

    def decode(self) -> Bits:
        """The matrix, from what the descriptors and the pieces say."""
        out = np.zeros((-(-self.m // SIDE) * SIDE, -(-self.k // WIDTH) * WIDTH), dtype=np.uint16)
        chunks = self.units.view(np.uint16).reshape(-1, SIDE, 8, 8)
        matrices = np.take_along_axis(chunks, _SWIZZLED, axis=2).reshape(-1, SIDE, WIDTH)
        for tile in self.tiles:
            unit, first = int(tile["first_unit"]), int(tile["first_piece"])
            for piece in self.pieces[first : first + int(tile["pieces"])].tolist():
                column = (piece & 0xFFFF) * WIDTH
                for which, strip in enumerate(tile["strips"].tolist()):
                    if piece >> 16 + which & 1:
                        out[strip * SIDE : (strip + 1) * SIDE, column : column + WIDTH] = matrices[unit]
                        unit += 1
        return out[: self.m, : self.k]

    @property
    def nbytes(self) -> int:
        """Bytes that a product reads."""
        return self.units.nbytes + self.pieces.nbytes + self.tiles.nbytes


def alike(kept: Kept, size: int) -> NDArray[np.int32]:
    """Rows of `kept` [rows, columns] in groups [groups, size] with many columns in common; -1 where there are too few.

    Greedily: a group is the row with the most columns that is left, then the row that shares the most with the group, and
    so on.
    """
    columns = kept.astype(np.float32)
    free = np.ones(len(kept), dtype=bool)
    found = np.full((-(-len(kept) // size), size), -1, dtype=np.int32)
    for group in found:
        row = int(np.argmax(np.where(free, kept.sum(axis=1), -1)))
        union = np.zeros(kept.shape[1], dtype=np.float32)
        for place in range(min(size, int(free.sum()))):
            group[place], free[row] = row, False
            union = np.maximum(union, columns[row])
            row = int(np.argmax(np.where(free, columns @ union, -1)))
    return found


def _tiles(kept: Kept) -> tuple[NDArray[np.void], NDArray[np.uint32], NDArray[np.intp]]:
    """Row tiles, pieces, and where the units are: strip and column in units."""
    paired = alike(kept, 2)
    grouped = alike(np.asarray(_inside(kept, paired).any(axis=1)), GROUPS)
    count = len(grouped)
    tiles, pieces, where = np.zeros(count, dtype=TILE), [], []
    done = placed = 0
    for tile, group in zip(tiles, grouped, strict=True):
        strips = np.where(group[:, None] >= 0, paired[group], -1).ravel()
        inside = _inside(kept, strips)
        columns = np.flatnonzero(inside.any(axis=0))
        masks = (inside[:, columns].T << np.arange(2 * GROUPS, dtype=np.uint32)).sum(axis=1, dtype=np.uint32)
        column, which = np.nonzero(inside.T)
        tile["first_piece"], tile["pieces"], tile["first_unit"] = done, len(columns), placed
        tile["strips"] = strips
        pieces.append(columns.astype(np.uint32) | masks << 16)
        where.append(np.column_stack([strips[which], column]))
        done, placed = done + len(columns), placed + len(column)
    return tiles, np.concatenate(pieces), np.concatenate(where)


def _inside(kept: Kept, rows: NDArray[np.int32]) -> Kept:
    """Those rows [..., columns]; nothing for negative ones."""
    found: Kept = kept[rows] & (rows >= 0)[..., None]
    return found


def _kept(weight: Bits, strip: int) -> Kept:
    """Which units of a strip have a nonzero."""
    kept: Kept = np.asarray((_blocks(weight, strip) << 1).any(axis=(0, 2)))
    return kept


def _blocks(weight: Bits, strip: int) -> Bits:
    """The rows of a strip [32 rows, units, 64 columns], filled up with zeros to whole units."""
    m, k = weight.shape
    piece = np.zeros((SIDE, -(-k // WIDTH) * WIDTH), dtype=np.uint16)
    piece[: min(m - strip * SIDE, SIDE), :k] = weight[strip * SIDE : (strip + 1) * SIDE]
    return piece.reshape(SIDE, -1, WIDTH)


def _units(blocks: Bits) -> NDArray[np.uint8]:
    """The bytes of blocks [32 rows, units, 64 columns]."""
    chunks = np.take_along_axis(blocks.transpose(1, 0, 2).reshape(-1, SIDE, 8, 8), _SWIZZLED, axis=2)
    return np.ascontiguousarray(chunks).view(np.uint8).reshape(-1, UNIT_BYTES)
