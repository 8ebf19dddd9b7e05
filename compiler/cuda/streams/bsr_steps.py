"""Block steps: a matrix of 32 x 32 units of which only those with a nonzero are kept, in the order `bsr_wgmma` takes them.

Rows are cut into tiles of up to 12 strips of 32 rows, tiles into steps of 64 columns; steps without a unit are left out, and
a few others together are a window. The units of a window are those of its first strip, column by column, then those of the
next. A unit is 32 rows of 64 bytes, 2048 bytes, copied to shared memory as it is: of row r, the 16 bytes c lie at
c ^ (r / 2 % 4), which is the 64-byte swizzle of the matrix descriptors of `wgmma`.

Larger blocks are several units; where blocks are smaller or begin elsewhere, units have zeros in them. Bytes per element
of a unit: 2; a window has 80 bytes more.
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
TOKENS = 128  # that a tile is multiplied by: sums of 12 strips for them fill the registers
GROUPS, STRIPS = 3, 12  # warpgroups, strips of a tile, of which each warpgroup has as many
MOST = 24  # units of a window, as many as a step can have
STEPS = 2  # of a window, as there is shared memory for
TYPICAL = 4096  # tokens, for which tiles are to be as many as multiprocessors can do at the same time
WINDOW = np.dtype(
    [
        ("first", np.uint32),  # unit
        *((name, np.uint8) for name in ("units", "steps")),
        ("splits", np.uint8, GROUPS - 1),  # units of the warpgroups before the second and the third
        ("columns", np.uint16, 4),  # of each step, in 64
        ("counts", np.uint8, (GROUPS, STRIPS // GROUPS)),  # of each strip's units
        ("places", np.uint16, MOST),  # of what each unit is multiplied by, in 16 bytes within the window's X
        ("rest", np.uint32),
    ]
)
_STEP_PLACES = STEP * 2 * TOKENS // 16  # of X

_SWIZZLED = np.arange(4) ^ np.arange(SIDE)[:, None] // 2 % 4  # where the 16 bytes of a row lie; its own inverse

Bits = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class BlockSteps:
    """A matrix [m, k] of 16-bit floating-point numbers, kept as bits.

    `tiles` is int32 [tiles, 4]: first window, number of windows, first strip, number of strips; `windows` WINDOW
    [windows]; `units` uint8 [units, 2048].
    """

    m: int
    k: int
    tiles: NDArray[np.int32]
    windows: NDArray[np.void]
    units: NDArray[np.uint8]

    @classmethod
    def encode(cls, weight: Bits, workers: int) -> BlockSteps:
        """Encode the bits of a matrix [m, k] for so many multiprocessors; units of nothing but zeros of either sign are
        dropped."""
        m, k = weight.shape
        count = -(-m // SIDE)
        kept = kept_units(weight)
        tiles: list[tuple[int, ...]] = []
        windows: list[NDArray[np.void]] = []
        places, total = [np.zeros((0, 2), dtype=np.intp)], 0
        bounds = np.linspace(0, count, row_tiles(count, workers) + 1).astype(int).tolist()
        for begin, end in pairwise(bounds):
            first = len(windows)
            for steps in _together(kept[begin:end]):
                window, inside = _window(kept[begin:end], steps)
                window["first"] = total
                windows.append(window)
                places.append(inside + np.array([begin, 0]))
                total += len(inside)
            tiles.append((first, len(windows) - first, begin, end - begin))
        where = np.concatenate(places)
        units = unit_bytes(weight, where)
        return cls(m, k, np.array(tiles, dtype=np.int32), np.array(windows, dtype=WINDOW), units)

    def decode(self) -> Bits:
        """The matrix, from what the descriptors and the windows say."""
        out = np.zeros((-(-self.m // SIDE) * SIDE, -(-self.k // STEP) * STEP), dtype=np.uint16)
        matrices = unit_values(self.units)
        for first, count, strip, _ in self.tiles.tolist():
            for window in self.windows[first : first + count]:
                strips = np.repeat(np.arange(STRIPS), window["counts"].ravel())
                for unit, (which, at) in enumerate(zip(strips.tolist(), window["places"].tolist(), strict=False)):
                    step, place = divmod(at, _STEP_PLACES)
                    row, column = (strip + which) * SIDE, int(window["columns"][step]) * STEP + place // 4 * SIDE
                    out[row : row + SIDE, column : column + SIDE] = matrices[int(window["first"]) + unit]
        return out[: self.m, : self.k]

    @property
    def nbytes(self) -> int:
        """Bytes that a product reads."""
        return self.units.nbytes + self.windows.nbytes + self.tiles.nbytes


def row_tiles(strips: int, workers: int) -> int:
    """Into how many tiles so many strips are cut: the fewest, or a tenth more if multiprocessors have less to do then."""
    fewest = -(-strips // STRIPS)

    def rounds(tiles: int) -> tuple[int, int]:
        return -(-tiles * (TYPICAL // TOKENS) // workers) * -(-strips // tiles), tiles

    return min(range(fewest, min(strips, fewest + fewest // 10) + 1), key=rounds)


def _together(kept: NDArray[np.bool_]) -> list[list[int]]:
    """The steps of each window of a tile, of whose strips [strips, columns in 32] those units are kept."""
    counts = kept.sum(axis=0).reshape(-1, 2).sum(axis=1).tolist()
    found: list[list[int]] = []
    units = 0
    for step, count in enumerate(counts):
        if not count:
            continue
        if found and len(found[-1]) < STEPS and units + count <= MOST:
            found[-1].append(step)
            units += count
        else:
            found.append([step])
            units = count
    return found


def _window(kept: NDArray[np.bool_], steps: list[int]) -> tuple[NDArray[np.void], NDArray[np.intp]]:
    """A window of these steps, and where its units are: [units, 2], strip and column in 32."""
    inside = kept.reshape(len(kept), -1, 2)[:, steps].reshape(len(kept), -1)
    counts = np.zeros(STRIPS, dtype=np.uint8)
    counts[: len(kept)] = inside.sum(axis=1)
    strip, at = np.nonzero(inside)
    window = np.zeros((), dtype=WINDOW)
    window["units"], window["steps"] = len(at), len(steps)
    window["columns"][: len(steps)] = steps
    window["counts"] = counts.reshape(GROUPS, -1)
    window["splits"] = window["counts"].sum(axis=1).cumsum()[:-1]
    window["places"][: len(at)] = at // 2 * _STEP_PLACES + at % 2 * 4
    return window, np.column_stack([strip, np.array(steps)[at // 2] * 2 + at % 2])


def kept_units(weight: Bits) -> NDArray[np.bool_]:
    """Which units [strips, columns in 32] have a nonzero, of either sign."""
    with ThreadPoolExecutor() as pool:
        rows = pool.map(lambda strip: (_blocks(weight, strip) << 1).any(axis=(0, 2)), range(-(-len(weight) // SIDE)))
        return np.stack(list(rows))


def unit_bytes(weight: Bits, where: NDArray[np.intp]) -> NDArray[np.uint8]:
    """The bytes of units [units, 2048] of these strips and columns in 32."""
    units = np.empty((len(where), UNIT_BYTES), dtype=np.uint8)

    def fill(strip: int) -> None:
        own = np.flatnonzero(where[:, 0] == strip)
        chunks = _blocks(weight, strip)[:, where[own, 1]].transpose(1, 0, 2).reshape(-1, SIDE, 4, 8)
        chunks = np.take_along_axis(chunks, _SWIZZLED[None, :, :, None], axis=2)
        units[own] = np.ascontiguousarray(chunks).view(np.uint8).reshape(-1, UNIT_BYTES)

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, range(-(-len(weight) // SIDE))))
    return units


def unit_values(units: NDArray[np.uint8]) -> Bits:
    """The bits of units [units, 32, 32] of which these are the bytes."""
    chunks = units.view(np.uint16).reshape(-1, SIDE, 4, 8)
    return np.take_along_axis(chunks, _SWIZZLED[None, :, :, None], axis=2).reshape(-1, SIDE, SIDE)


def _blocks(weight: Bits, strip: int) -> Bits:
    """The rows of a strip [32 rows, units, 32 columns], filled up with zeros to whole steps."""
    m, k = weight.shape
    piece = np.zeros((SIDE, -(-k // STEP) * STEP), dtype=np.uint16)
    piece[: min(m - strip * SIDE, SIDE), :k] = weight[strip * SIDE : (strip + 1) * SIDE]
    return piece.reshape(SIDE, -1, SIDE)
