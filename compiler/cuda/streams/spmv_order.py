"""An order of nonzeros in which neighbouring lanes seldom need the same banks of shared memory.

Eight lanes that load 16 bytes each, a column of X for eight tokens, do so at once if their columns differ modulo eight. Of
the nonzeros of a row that come next a lane takes one whose bank fewest lanes have taken, and of these one that fewest of the
lanes that follow could take; lanes with the smallest choice of banks are first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LANES = 8  # that load at once
BANKS = 8  # of 16 bytes
CHOICE = 12  # nonzeros that a lane may choose from
FARTHEST = 127  # from one column to the next
NONE = 1 << 30  # no column

_TAKEN, _WANTED, _FORBIDDEN = (
    2048,
    16,
    1 << 14,
)  # what a choice costs: for each lane that has its bank or might, if it may not be

Columns = NDArray[np.int32]


def spread(columns: Columns) -> NDArray[np.intp]:
    """Of columns [groups, lanes, count], ascending, no farther than `FARTHEST` from each other or from 0: what is taken when.

    In that order they are no farther from each other than that, either. Behind the last of a lane there may be `NONE`, which
    stay behind.
    """
    groups, lanes, count = columns.shape
    every, each = np.arange(groups)[:, None], np.arange(lanes)
    taken = np.empty(columns.shape, dtype=np.int32)
    padded = np.concatenate([columns, np.full((groups, lanes, CHOICE + 1), NONE, dtype=np.int32)], axis=2)
    offers = padded[:, :, : CHOICE + 1].copy()
    numbers = np.broadcast_to(np.arange(CHOICE + 1, dtype=np.int32), offers.shape).copy()
    last = np.zeros((groups, lanes), dtype=np.int32)
    for turn in range(count):
        which = _choice(offers[:, :, :CHOICE] % BANKS, _allowed(offers, last))
        last = offers[every, each, which]
        taken[:, :, turn] = numbers[every, each, which]
        behind = np.arange(CHOICE) >= which[:, :, None]
        np.copyto(offers[:, :, :CHOICE], offers[:, :, 1:].copy(), where=behind)
        np.copyto(numbers[:, :, :CHOICE], numbers[:, :, 1:].copy(), where=behind)
        offers[:, :, CHOICE] = padded[:, :, turn + CHOICE + 1]
        numbers[:, :, CHOICE] = turn + CHOICE + 1
    return taken.astype(np.intp)


def _allowed(offers: Columns, last: Columns) -> NDArray[np.bool_]:
    """Which of the choices leave no gap that is too wide: from the last column, to the first one that is left, and between
    those that are left. The first is always allowed, as none is too far from it."""
    choices = offers[:, :, :CHOICE]
    near = (abs(choices - last[:, :, None]) <= FARTHEST) & (choices - offers[:, :, :1] <= FARTHEST)
    near[:, :, 1:] &= offers[:, :, 2:] - offers[:, :, : CHOICE - 1] <= FARTHEST
    near[:, :, 0] = True
    return near


def _choice(banks: Columns, allowed: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Which each lane takes, of banks [groups, lanes, choices]."""
    groups, lanes, _ = banks.shape
    every = np.arange(groups)
    bits = np.where(allowed, 1 << banks, 0).astype(np.uint8)
    possible = np.unpackbits(np.bitwise_or.reduce(bits, axis=2)[:, :, None], axis=2, bitorder="little")
    wanted = possible.sum(axis=1, dtype=np.int16) * _WANTED
    order = np.argsort(possible.sum(axis=2, dtype=np.uint8), axis=1, kind="stable")
    fixed = np.arange(banks.shape[2], dtype=np.int16) + np.where(allowed, np.int16(0), np.int16(_FORBIDDEN))
    which = np.empty((groups, lanes), dtype=np.intp)
    for lane in order.T:
        own = banks[every, lane]
        found = np.argmin(wanted[every[:, None], own] + fixed[every, lane], axis=1)
        which[every, lane] = found
        wanted -= possible[every, lane].astype(np.int16) * np.int16(_WANTED)
        wanted[every, own[every, found]] += np.int16(_TAKEN)
    return which
