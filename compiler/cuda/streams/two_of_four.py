"""Two of four: the values and places of a 2:4 matrix, as sparse tensor cores take them."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sparsec.errors import ModelError

NEGATIVE_ZERO = 0x8000

Number = TypeVar("Number", np.uint16, np.uint8)

# Of each pattern of four bits with at most two set: where the two are, filled up with other places, in order.
_PLACES = np.array(
    [sorted(sorted(range(4), key=lambda at: not pattern >> at & 1)[:2]) for pattern in range(16)], dtype=np.uint8
)


def pairs(piece: NDArray[Number], row: int, column: int) -> tuple[NDArray[Number], NDArray[np.uint16]]:
    """The two values [rows, groups, 2] and the two places [rows, groups], two bits each, of each group of four columns.

    `piece` [rows, 4 groups] begins at (row, column) of a weight, of which a `ModelError` speaks: floating-point numbers of 16
    bits (uint16), of which both zeros are dropped, or numbers of eight (uint8).
    """
    groups = piece.reshape(len(piece), -1, 4)
    kept = groups != 0
    if groups.dtype == np.uint16:
        kept &= groups != NEGATIVE_ZERO
    patterns = np.packbits(kept, axis=2, bitorder="little")[:, :, 0]
    counts = np.bitwise_count(patterns)
    if (counts > 2).any():
        at, group = np.argwhere(counts > 2)[0]
        raise ModelError(
            "The weight is not 2:4 sparse.",
            where=f"row {row + at}, columns {column + 4 * group} and on",
            expected="at most two nonzeros in each group of four",
            got=f"{counts[at, group]} nonzeros",
        )
    places = _PLACES[patterns]
    flat = groups.reshape(-1)
    first = np.arange(0, flat.size, 4, dtype=np.intp).reshape(patterns.shape)
    values = np.stack([flat[first + places[:, :, each]] for each in range(2)], axis=2)
    return values, (places[:, :, 0] | places[:, :, 1] << 2).astype(np.uint16)


def matrix(values: NDArray[Number], index: NDArray[np.uint16]) -> NDArray[Number]:
    """The inverse of `pairs`: the columns of all groups."""
    dense = np.zeros((*index.shape, 4), dtype=values.dtype)
    places = np.stack([index & 3, index >> 2], axis=2).astype(np.intp)
    np.put_along_axis(dense, places, values, axis=2)
    return dense.reshape(len(index), -1)
