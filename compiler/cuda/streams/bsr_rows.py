"""Block rows: a matrix of 32 x 32 units of which only those with a nonzero are kept, in the order `bsr_rows_mma` takes them.

Strips of 32 rows are dealt to tiles of up to 12, a strip for each warp, and tiles have the same steps of 64 columns in pairs: those
in which any of the two has a unit. A warp goes on as soon as it is done with its units of a step, so it does not matter who has
most of them in one step, but in some steps together; thus strips are dealt so that all quarters of all multiprocessors, three
warps each, have as many units (longest first), and the steps of a pair are in an order in which all are about equally far after
each of them: the next is the one that leaves the least squares of what they are apart.

The units of a step and a tile are those of its first warp, column by column, then those of the next, 2048 bytes each: for 16
columns, then the others, and 16 rows, then the others, 16 bytes for each lane, as `mma` wants them. Bytes per element of a unit:
2; a tile's step has 16 more.
"""

from __future__ import annotations

import heapq
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 32  # rows and columns of a unit
STEP = 64  # columns
UNIT_BYTES = 2 * SIDE * SIDE
WARPS = 12  # strips of a tile
QUARTERS = 4  # of a multiprocessor: they have every fourth warp each
PAIR = 2  # tiles with the same steps
HEAD = np.dtype(  # of a step and a tile
    [
        ("column", np.uint16),  # in 64
        ("units", np.uint16),
        ("mask", np.uint32),  # two bits of each warp: has it a unit of the first, of the second 32 columns?
        ("first", np.uint32),  # unit
        ("unused", np.uint32),
    ]
)
TILE = np.dtype([("first", np.int32), ("steps", np.int32), ("strips", np.int16, WARPS)])  # of each warp, or -1
MOST = 2 * WARPS  # units of a step

Bits = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class BlockRows:
    """A matrix [m, k] of 16-bit floating-point numbers, kept as bits.

    `tiles` is TILE [pairs, 2], `steps` HEAD [steps of all tiles], `units` uint8 [units, 2048].
    """

    m: int
    k: int
    tiles: NDArray[np.void]
    steps: NDArray[np.void]
    units: NDArray[np.uint8]

    @classmethod
    def encode(cls, weight: Bits) -> BlockRows:
        """Encode the bits of a matrix [m, k]; units of nothing but zeros of either sign are dropped."""
        m, k = weight.shape
        strips = range(-(-m // SIDE))
        with ThreadPoolExecutor() as pool:
            kept = np.stack(list(pool.map(lambda strip: (_blocks(weight, strip) << 1).any(axis=(0, 2)), strips)))
            dealt = _dealt(kept.sum(axis=1))
            tiles = np.zeros(dealt.shape[:2], dtype=TILE)
            tiles["strips"] = dealt
            heads = [np.zeros(0, dtype=HEAD)]
            places, count, total = [np.zeros((0, 2), dtype=np.intp)], 0, 0
            for pair, own in zip(tiles, dealt, strict=True):
                inside = np.where(own[:, :, None] >= 0, kept[own], False).reshape(PAIR, WARPS, -1, 2)
                order = _evenly(inside)
                for tile, strips_of, there in zip(pair, own, inside[:, :, order], strict=True):
                    heads.append(_heads(order, there, total))
                    step, warp, half = np.nonzero(there.transpose(1, 0, 2))
                    places.append(np.column_stack([strips_of[warp], 2 * order[step] + half]))
                    tile["first"], tile["steps"] = count, len(order)
                    count, total = count + len(order), total + len(step)
            where = np.concatenate(places)
            units = np.empty((total, UNIT_BYTES), dtype=np.uint8)

            def fill(strip: int) -> None:
                own = np.flatnonzero(where[:, 0] == strip)
                units[own] = _units(_blocks(weight, strip)[:, where[own, 1]])

            list(pool.map(fill, strips))
        return cls(m, k, tiles, np.concatenate(heads), units)

    def decode(self) -> Bits:
        """The matrix, from what the tiles and steps say."""
        out = np.zeros((-(-self.m // SIDE) * SIDE, -(-self.k // STEP) * STEP), dtype=np.uint16)
        matrices = self.units.view(np.uint16).reshape(-1, 2, 2, 8, 4, 2, 2, 2).transpose(0, 2, 6, 3, 1, 5, 4, 7)
        matrices = matrices.reshape(-1, SIDE, SIDE)
        for tile in self.tiles.ravel():
            steps = self.steps[tile["first"] :][: tile["steps"]]
            for step, mask, first in zip(*(steps[name].tolist() for name in ("column", "mask", "first")), strict=True):
                for unit, at in enumerate((at for at in range(MOST) if mask >> at & 1), first):
                    row, column = int(tile["strips"][at // 2]) * SIDE, step * STEP + at % 2 * SIDE
                    out[row : row + SIDE, column : column + SIDE] = matrices[unit]
        return out[: self.m, : self.k]

    @property
    def nbytes(self) -> int:
        """Bytes that a product reads."""
        return self.units.nbytes + self.steps.nbytes + self.tiles.nbytes


def tile_pairs(m: int) -> int:
    """Pairs of tiles of a matrix with so many rows."""
    return -(-m // (SIDE * WARPS * PAIR))


def _blocks(weight: Bits, strip: int) -> Bits:
    """The rows of a strip [32 rows, units, 32 columns], filled up with zeros to whole steps."""
    m, k = weight.shape
    piece = np.zeros((SIDE, -(-k // STEP) * STEP), dtype=np.uint16)
    piece[: min(m - strip * SIDE, SIDE), :k] = weight[strip * SIDE : (strip + 1) * SIDE]
    return piece.reshape(SIDE, -1, SIDE)


def _dealt(counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """The strips of each warp [pairs, tiles, warps], of strips with so many units, -1 where there is none."""
    quarters = tile_pairs(len(counts) * SIDE) * PAIR * QUARTERS
    room = WARPS // QUARTERS
    own: list[list[int]] = [[] for _ in range(quarters)]
    loads = [(0, quarter) for quarter in range(quarters)]  # a heap of those that have room
    full: list[tuple[int, int]] = []
    for strip in np.argsort(-counts, kind="stable").tolist():
        load, quarter = heapq.heappop(loads)
        own[quarter].append(strip)
        if len(own[quarter]) < room:
            heapq.heappush(loads, (load + int(counts[strip]), quarter))
        else:
            full.append((load + int(counts[strip]), quarter))
    strips = np.full((quarters, room), -1)
    for row, (_, quarter) in enumerate(sorted(full + loads, reverse=True)):
        strips[row, : len(own[quarter])] = own[quarter]
    return strips.reshape(-1, PAIR, QUARTERS, room).swapaxes(2, 3).reshape(-1, PAIR, WARPS)


def _evenly(inside: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The steps that a pair [tiles, warps, steps, 2] has units in, in the order that they are done in."""
    there = np.flatnonzero(inside.any(axis=(0, 1, 3)))
    warps = inside[:, :, there].sum(axis=3)  # units
    quarters = warps.reshape(PAIR, WARPS // QUARTERS, QUARTERS, len(there)).sum(axis=1)
    work = np.concatenate(
        [warps.reshape(PAIR * WARPS, len(there)), 2.0 * quarters.reshape(PAIR * QUARTERS, len(there))]
    ).T
    work -= work.mean(axis=0) if len(there) else 0.0
    ahead, left, order = np.zeros(work.shape[1]), np.ones(len(there), dtype=bool), np.empty(len(there), dtype=np.intp)
    for place in range(len(there)):
        apart = np.square(ahead + work).sum(axis=1)
        best = int(np.where(left, apart, np.inf).argmin())
        ahead, left[best], order[place] = ahead + work[best], False, best
    return there[order]


def _heads(order: NDArray[np.intp], inside: NDArray[np.bool_], first: int) -> NDArray[np.void]:
    """Of a tile's steps, whose units [warps, steps, 2] begin with this one."""
    own = inside.transpose(1, 0, 2).reshape(len(order), MOST)
    heads = np.zeros(len(order), dtype=HEAD)
    heads["column"], heads["units"] = order, own.sum(axis=1)
    heads["mask"] = (own << np.arange(MOST, dtype=np.uint32)).sum(axis=1)
    heads["first"] = first + heads["units"].cumsum() - heads["units"]
    return heads


def _units(blocks: Bits) -> NDArray[np.uint8]:
    """The bytes of blocks [32 rows, units, 32 columns]."""
    lanes = blocks.transpose(1, 0, 2).reshape(-1, 2, 2, 8, 2, 2, 4, 2).transpose(0, 4, 1, 3, 6, 5, 2, 7)
    return np.ascontiguousarray(lanes).view(np.uint8).reshape(-1, UNIT_BYTES)
