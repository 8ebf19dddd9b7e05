"""Sparse rows packed in the order in which a kernel visits them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sparsec.formats.blocked import Blocked
from sparsec.formats.csr import Csr
from sparsec.kernels.packed import Packed
from sparsec.kernels.words import FP32, Words

ROW_COST = 3  # an empty row costs as much as this many nonzeros

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Visits:
    """The order in which a kernel visits pieces of rows; group g makes the visits [bounds[g], bounds[g + 1]).

    A visit adds the nonzeros [begins[j], ends[j]) of a row to place `slots[j]`. A group goes through the columns block
    by block, so that what a block reads stays in L1; inside a block rows have falling numbers of nonzeros: neighbours
    then have equal loops, which branch prediction likes.
    """

    slots: NDArray[np.int64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    bounds: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        weight: Csr | Blocked,
        groups: Sequence[NDArray[np.int64]],
        slots: Sequence[NDArray[np.int64]],
        *,
        columns: int | None,
    ) -> Visits:
        """Visit the rows (or rows of blocks) of each group, in blocks of so many `columns`; empty ones if that is all."""
        inside, rows_in_all = math.prod(weight.shape[1:]), len(weight.counts)
        blocks = 1 if columns is None else -(-inside // columns)
        places_in = weight.columns.astype(np.int64)
        key = np.repeat(np.arange(rows_in_all), weight.counts) * blocks + places_in // (columns or max(inside, 1))
        counts = np.bincount(key, minlength=rows_in_all * blocks)
        ends = np.cumsum(counts)
        keys, places, bounds = [], [], [0]
        for rows, mine in zip(groups, slots, strict=True):
            for block in range(blocks):
                here = rows * blocks + block
                order = np.argsort(-counts[here], kind="stable")
                order = order[counts[here][order] > 0] if blocks > 1 else order
                keys.append(here[order])
                places.append(mine[order])
            bounds.append(sum(map(len, keys[-blocks:])) + bounds[-1])
        picked = np.concatenate(keys)
        return cls(np.concatenate(places), ends[picked] - counts[picked], ends[picked], np.array(bounds))


@dataclass(frozen=True, slots=True)
class SparseRows(Packed):
    """The nonzeros of the rows, or the blocks of the rows of blocks, in visiting order.

    `values[i]` (of a block: `height` words, one for each row) multiplies the vector at element `offsets[i]`. Visit j
    goes to place `order[j]` and has the nonzeros [pointers[j], pointers[j + 1]), a `multiple` of the unrolling; group g
    makes the visits [bounds[g], bounds[g + 1]).
    Rows are filled up by splitting values into halves, exactly: a filler of zero would be simpler, but zero times
    infinity is NaN, and a row may only see what its own nonzeros read. Whole numbers have no infinity, and zeros.
    """

    values: NDArray[np.generic]
    offsets: NDArray[np.int32]
    order: NDArray[np.int32]
    pointers: NDArray[np.int32]
    bounds: NDArray[np.int32]
    multiple: int

    @classmethod
    def pack(
        cls,
        values: NDArray[np.float32],
        offsets: NDArray[np.int64],
        visits: Visits,
        *,
        multiple: int,
        words: Words = FP32,
    ) -> SparseRows:
        """Pack the visited rows.

        `values` is [nonzeros] or [blocks, width, height], blocks being as wide as words; `offsets` has the element offset
        of each. Rows are filled up to a `multiple`.
        """
        counts = visits.ends - visits.begins
        fillers = np.where(counts > 0, -counts % multiple, 0)
        inside = ramps(counts)
        source = np.repeat(visits.begins, counts) + inside
        extra, rest = np.divmod(np.repeat(fillers, counts), np.repeat(counts, counts))
        pieces = 1 + extra + (inside < rest)
        halvings = np.minimum(ramps(pieces) + 1, np.repeat(pieces - 1, pieces))
        repeated = np.repeat(values.reshape(len(values), words.group, -1 if len(values) else 1)[source], pieces, axis=0)
        if words.exact:
            split = np.where(ramps(pieces)[:, None, None] == 0, repeated, 0)
        else:
            split = np.ldexp(repeated, -halvings[:, None, None]).astype(np.float32)
        return cls(
            _never_empty(words.encode(split.transpose(0, 2, 1)).reshape(-1)),
            _never_empty(np.repeat(offsets[source], pieces).astype(np.int32)),
            visits.slots.astype(np.int32),
            np.concatenate([[0], np.cumsum(counts + fillers)]).astype(np.int32),
            visits.bounds.astype(np.int32),
            multiple,
        )

    @property
    def groups(self) -> int:
        return len(self.bounds) - 1


def ramps(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 ... n - 1 for each n of `lengths`, behind each other."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _never_empty(array: NDArray[Scalar]) -> NDArray[Scalar]:
    return array if len(array) else np.zeros(1, dtype=array.dtype)
