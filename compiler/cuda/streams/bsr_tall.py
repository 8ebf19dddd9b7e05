"""Tall tiles: a matrix of 32 x 32 units of which only those with a nonzero are kept, in the order `bsr_tall_wgmma` takes them.

Strips of 32 rows are dealt to tiles, back and forth, and in a tile to warpgroups, so that all have about as many units (longest
first). Columns are cut into steps of 64; steps without a unit are left out, and two to four others together are a window: the
fewer units they have, the more. The units of a window are those of the first warpgroup, strip by strip and from left to right, then
those of the next. A unit is 32 rows of 64 bytes as in `bsr_steps`. Bytes per element of a unit: 2; a window has 48 more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.streams.bsr_steps import SIDE, STEP, kept_units, unit_bytes, unit_values

GROUPS, STRIPS = 3, 8  # warpgroups, strips of each
STEPS = (4, 3, 2)  # of a window
BOXES = 2 * STEPS[0]  # units of a strip in a window, at most
TOGETHER = 14.0  # units of a window on average, at most, where it has more than two steps
MOST = 48  # units of a window, as many as a step can have
TOKENS, CLUSTER = 64, 2  # of a block of threads, and blocks that share units
TYPICAL = 4096  # tokens, for which tiles are to be as many as multiprocessors can do at the same time
WINDOW = np.dtype(
    [
        ("first", np.uint32),  # unit
        ("units", np.uint8),
        ("steps", np.uint8),
        ("before", np.uint8, 2),  # units of the warpgroups before the second, and the third
        ("columns", np.uint16, 4),  # of each step, in 64
        ("masks", np.uint64, 4),  # of each warpgroup: BOXES bits for each strip, which units there are
    ]
)
TILE = np.dtype([("first", np.int32), ("windows", np.int32), ("strips", np.int16, (GROUPS, STRIPS))])  # or -1

Bits = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class TallTiles:
    """A matrix [m, k] of 16-bit floating-point numbers, kept as bits.

    `tiles` is TILE [tiles], `windows` WINDOW [windows] of so many `steps`, `units` uint8 [units, 2048].
    """

    m: int
    k: int
    steps: int
    tiles: NDArray[np.void]
    windows: NDArray[np.void]
    units: NDArray[np.uint8]

    @classmethod
    def encode(cls, weight: Bits, workers: int) -> TallTiles:
        """Encode the bits of a matrix [m, k] for so many multiprocessors; units of nothing but zeros of either sign are
        dropped."""
        m, k = weight.shape
        kept = kept_units(weight)
        dealt = _dealt(kept.sum(axis=1), row_tiles(len(kept), workers))
        steps = steps_together(int(kept.sum()) / (len(dealt) * -(-k // STEP)))
        tiles = np.zeros(len(dealt), dtype=TILE)
        tiles["strips"] = dealt
        windows: list[NDArray[np.void]] = []
        places: list[NDArray[np.intp]] = []
        count = total = 0
        for tile, strips in zip(tiles, dealt, strict=True):
            inside = np.where(strips[:, :, None] >= 0, kept[strips], False)
            own, where = _windows(inside, steps, total)
            tile["first"], tile["windows"] = count, len(own)
            windows.append(own)
            places.append(np.column_stack([strips[where[0], where[1]], where[2]]))
            count, total = count + len(own), total + len(where[0])
        return cls(m, k, steps, tiles, np.concatenate(windows), unit_bytes(weight, np.concatenate(places)))

    def decode(self) -> Bits:
        """The matrix, from what the tiles and windows say."""
        out = np.zeros((-(-self.m // SIDE) * SIDE, -(-self.k // STEP) * STEP), dtype=np.uint16)
        matrices = unit_values(self.units)
        for tile in self.tiles:
            for window in self.windows[tile["first"] :][: tile["windows"]]:
                starts = [0, *window["before"].tolist()]
                for strips, mask, before in zip(tile["strips"], window["masks"].tolist(), starts, strict=False):
                    for unit, at in enumerate(
                        (at for at in range(64) if mask >> at & 1), int(window["first"]) + before
                    ):
                        row, box = int(strips[at // BOXES]) * SIDE, at % BOXES
                        column = int(window["columns"][box // 2]) * STEP + box % 2 * SIDE
                        out[row : row + SIDE, column : column + SIDE] = matrices[unit]
        return out[: self.m, : self.k]

    @property
    def nbytes(self) -> int:
        """Bytes that a product reads."""
        return self.units.nbytes + self.windows.nbytes + self.tiles.nbytes


def row_tiles(strips: int, workers: int) -> int:
    """To how many tiles so many strips are dealt: the fewest, or a fifth more if multiprocessors have less to do then."""
    fewest = -(-strips // (GROUPS * STRIPS))
    at_once = max(1, workers // CLUSTER)

    def rounds(tiles: int) -> tuple[int, int]:
        return -(-tiles * (TYPICAL // (TOKENS * CLUSTER)) // at_once) * -(-strips // tiles), tiles

    return min(range(fewest, min(strips, fewest + fewest // 5) + 1), key=rounds)


def steps_together(units: float) -> int:
    """Of a window, where a step of a tile has so many units on average."""
    return next(steps for steps in STEPS if steps * units <= TOGETHER or steps == STEPS[-1])


def _dealt(counts: NDArray[np.intp], tiles: int) -> NDArray[np.intp]:
    """The strips of each warpgroup [tiles, warpgroups, strips], of strips with so many units, -1 where there is none."""
    dealt = np.full((tiles, GROUPS, STRIPS), -1)
    turns = np.full((-(-len(counts) // tiles), tiles), -1)
    turns.ravel()[: len(counts)] = np.argsort(-counts, kind="stable")
    turns[1::2] = turns[1::2, ::-1].copy()
    for tile, strips in zip(dealt, turns.T, strict=True):
        loads, numbers = [0] * GROUPS, [0] * GROUPS
        for strip in strips[strips >= 0].tolist():
            group = min(
                (each for each in range(GROUPS) if numbers[each] < STRIPS), key=lambda each: (loads[each], each)
            )
            tile[group, numbers[group]] = strip
            loads[group], numbers[group] = loads[group] + int(counts[strip]), numbers[group] + 1
    return dealt


def _windows(
    inside: NDArray[np.bool_], steps: int, first: int
) -> tuple[NDArray[np.void], tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]]:
    """Of a tile that has these units [warpgroups, strips, columns in 32], `first` and so on; and where each unit is: its warpgroup,
    its strip there, and its column."""
    by_steps = inside.reshape(GROUPS, STRIPS, -1, 2)
    together = _together(by_steps.sum(axis=(0, 1, 3)), steps)
    windows = np.zeros(len(together), dtype=WINDOW)
    own = np.zeros((len(together), GROUPS, STRIPS, STEPS[0], 2), dtype=bool)
    for place in range(steps):
        there = together[:, place] >= 0
        own[there, :, :, place] = by_steps[:, :, together[there, place]].transpose(2, 0, 1, 3)
    windows["steps"] = (together >= 0).sum(axis=1)
    windows["columns"][:, :steps] = together.clip(0)
    kept = own.reshape(len(together), GROUPS, STRIPS * BOXES)
    windows["masks"][:, :GROUPS] = (kept.astype(np.uint64) << np.arange(STRIPS * BOXES, dtype=np.uint64)).sum(axis=2)
    units = kept.sum(axis=2)
    windows["before"][:, : GROUPS - 1] = units.cumsum(axis=1)[:, :-1]
    windows["units"] = units.sum(axis=1)
    windows["first"] = first + windows["units"].cumsum(dtype=np.uint32) - windows["units"]
    window, group, at = np.nonzero(kept)
    column = together[window, at % BOXES // 2] * 2 + at % 2
    return windows, (group, at // BOXES, column)


def _together(counts: NDArray[np.intp], steps: int) -> NDArray[np.intp]:
    """The steps of each window [windows, `steps`], of steps with so many units; -1 where there is none."""
    found: list[list[int]] = []
    units = 0
    for step, count in enumerate(counts.tolist()):
        if not count:
            continue
        if found and len(found[-1]) < steps and units + count <= MOST:
            found[-1].append(step)
            units += count
        else:
            found.append([step])
            units = count
    return np.array([each + [-1] * (steps - len(each)) for each in found], dtype=np.intp).reshape(-1, steps)
