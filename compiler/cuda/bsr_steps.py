"""Block steps: a matrix of 32 x 32 units of which only those with a nonzero are kept, in the order `bsr_wgmma` takes them.

Rows are cut into tiles of up to 12 or 24 strips of 32 rows, tiles into steps of 64 columns; steps without a unit are left
out. The units of a step are those of its first 32 columns, strip by strip, then those of the other 32. A unit is 32 rows
of 64 bytes, 2048 bytes, copied to shared memory as it is: of row r, the 16 bytes c lie at c ^ (r / 2 % 4), which is the
64-byte swizzle of the matrix descriptors of `wgmma`.

Larger blocks are several units; where blocks are smaller or begin elsewhere, units have zeros in them. Bytes per element
of a unit: 2; a step has 16 bytes more.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SIDE = 32  # rows and columns of a unit
STEP = 64  # columns
UNIT_BYTES = 2 * SIDE * SIDE
STRIPS = 12  # whose sums a warpgroup has registers for
DENSITY = 1 / 6  # of units, up to which tiles of 24 strips and half the tokens need fewer bytes of X and W together

_SWIZZLED = np.arange(4) ^ np.arange(SIDE)[:, None] // 2 % 4  # where the 16 bytes of a row lie; its own inverse

Bits = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class BlockSteps:
    """A matrix [m, k] of 16-bit floating-point numbers, kept as bits.

    `tiles` is int32 [tiles, 4]: first step, number of steps, first strip, number of strips. `steps` is uint32 [steps, 4]:
    which strips of the tile have a unit in the first and in the second 32 columns (a bit each), the first unit, the
    column in 64. `units` is uint8 [units, 2048].
    """

    m: int
    k: int
    strips: int
    tiles: NDArray[np.int32]
    steps: NDArray[np.uint32]
    units: NDArray[np.uint8]

    @classmethod
    def encode(cls, weight: Bits) -> BlockSteps:
        """Encode the bits of a matrix [m, k]; units of nothing but zeros of either sign are dropped."""
        m, k = weight.shape
        count = -(-m // SIDE)
        with ThreadPoolExecutor() as pool:
            kept = np.stack(list(pool.map(lambda strip: (_blocks(weight, strip) << 1).any(axis=(0, 2)), range(count))))
            strips = STRIPS if kept.mean() > DENSITY else 2 * STRIPS
            bounds = np.linspace(0, count, -(-count // strips) + 1).astype(int)
            tiles, steps, firsts = [], [np.zeros((0, 4), dtype=np.uint32)], [0]
            for begin, end in pairwise(bounds.tolist()):
                own = _steps(kept[begin:end], firsts[-1])
                tiles.append((sum(map(len, steps)), len(own), begin, end - begin))
                steps.append(own)
                firsts.append(firsts[-1] + int(np.count_nonzero(kept[begin:end])))
            units = np.empty((firsts[-1], UNIT_BYTES), dtype=np.uint8)

            def fill(strip: int) -> None:
                tile = int(np.searchsorted(bounds, strip, side="right")) - 1
                inside = kept[bounds[tile] : bounds[tile + 1]].T
                numbers = firsts[tile] + np.cumsum(inside.ravel()).reshape(inside.shape) - 1
                own = kept[strip]
                units[numbers[own, strip - bounds[tile]]] = _units(_blocks(weight, strip)[:, own])

            list(pool.map(fill, range(count)))
        return cls(m, k, strips, np.array(tiles, dtype=np.int32), np.concatenate(steps), units)

    def decode(self) -> Bits:
        """The matrix, from what the descriptors and the masks say."""
        out = np.zeros((-(-self.m // SIDE) * SIDE, -(-self.k // STEP) * STEP), dtype=np.uint16)
        chunks = self.units.view(np.uint16).reshape(-1, SIDE, 4, 8)
        matrices = np.take_along_axis(chunks, _SWIZZLED[None, :, :, None], axis=2).reshape(-1, SIDE, SIDE)
        for first, count, strip, _ in self.tiles.tolist():
            for *masks, unit, column in self.steps[first : first + count].tolist():
                for half, mask in enumerate(masks):
                    for which in (each for each in range(2 * STRIPS) if mask >> each & 1):
                        row, at = (strip + which) * SIDE, column * STEP + half * SIDE
                        out[row : row + SIDE, at : at + SIDE] = matrices[unit]
                        unit += 1
        return out[: self.m, : self.k]

    @property
    def nbytes(self) -> int:
        """Bytes that a product reads."""
        return self.units.nbytes + self.steps.nbytes + self.tiles.nbytes


def _blocks(weight: Bits, strip: int) -> Bits:
    """The rows of a strip [32 rows, units, 32 columns], filled up with zeros to whole steps."""
    m, k = weight.shape
    piece = np.zeros((SIDE, -(-k // STEP) * STEP), dtype=np.uint16)
    piece[: min(m - strip * SIDE, SIDE), :k] = weight[strip * SIDE : (strip + 1) * SIDE]
    return piece.reshape(SIDE, -1, SIDE)


def _steps(kept: NDArray[np.bool_], first: int) -> NDArray[np.uint32]:
    """The steps of a tile, of whose strips [strips, columns in 32] those units are kept; its first unit's number."""
    masks = (kept.astype(np.uint32) << np.arange(len(kept), dtype=np.uint32)[:, None]).sum(axis=0, dtype=np.uint32)
    masks = masks.reshape(-1, 2)
    counts = kept.sum(axis=0).reshape(-1, 2).sum(axis=1)
    firsts = first + np.cumsum(counts) - counts
    used = np.flatnonzero(counts)
    return np.column_stack([masks[used], firsts[used], used]).astype(np.uint32)


def _units(blocks: Bits) -> NDArray[np.uint8]:
    """The bytes of blocks [32 rows, units, 32 columns]."""
    chunks = blocks.transpose(1, 0, 2).reshape(-1, SIDE, 4, 8)
    chunks = np.take_along_axis(chunks, _SWIZZLED[None, :, :, None], axis=2)
    return np.ascontiguousarray(chunks).view(np.uint8).reshape(-1, UNIT_BYTES)
