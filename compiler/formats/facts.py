"""What `tag_sparsity` finds out about a weight: how many zeros, and in which pattern."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.formats.coo import Coo
from sparsec.formats.csr import Csr
from sparsec.formats.matching import Sharing
from sparsec.formats.split import GROUP, SHARINGS, WORD_SHARINGS, Split

BLOCKS = ((4, 1), (1, 4), (8, 1), (16, 1), (4, 4), (16, 16))
WINDOWS = (4, 8, 16)  # columns; each divides the next
HEIGHTS = (1, 4, 8, 16)  # of blocks of rows that kernels compute, one column wide
WIDTHS = (2, 4)  # of blocks that are words of reduced precision
WORD = 4  # bytes of a word
_SAMPLED = 16  # groups of rows whose bundles are counted
_NEARLY_FULL = 0.9  # of a row or column
_FULL_BLOCKS = 0.9  # a block shape is a pattern if the nonzeros fill this share of the blocks that hold any
_FULL_GROUPS = 0.5  # n:m is one if the nonzeros are this share of n in each m


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a weight seen as a matrix [rows, columns]: outputs by reduction.

    `block` is the largest block shape that the nonzeros fill, `group` the n:m that they fill best, where every row keeps
    at most n, no more than half, of each m consecutive columns; None if there is none. `longest_row` counts nonzeros,
    `full_rows` and `full_columns` those that are nearly full.
    `windows` are (m, most nonzeros that any row has in m consecutive columns, counted from the first).
    `row_blocks` are (height, number of height x 1 blocks with a nonzero), `wide_blocks` the same of wider blocks: (height, width,
    number); of a convolution these hold neighbouring channels of a tap.
    `bundles` are about those of the split format: (height, number of columns, number of bundles), the tallest first;
    `word_bundles` the same of two rows where four neighbouring columns are one, of matrices of bytes.
    """

    rows: int
    columns: int
    nonzeros: int
    empty_rows: int
    empty_columns: int
    longest_row: int
    block: tuple[int, int] | None
    group: tuple[int, int] | None
    row_blocks: tuple[tuple[int, int], ...] = ()
    wide_blocks: tuple[tuple[int, int, int], ...] = ()
    bundles: tuple[tuple[int, int, int], ...] = ()
    word_bundles: tuple[tuple[int, int, int], ...] = ()
    windows: tuple[tuple[int, int], ...] = ()
    full_rows: int = 0
    full_columns: int = 0

    @property
    def density(self) -> float:
        """Share of nonzeros; 0 for a weight without elements."""
        size = self.rows * self.columns
        return self.nonzeros / size if size else 0.0

    def blocks_of(self, width: int) -> tuple[tuple[int, int], ...]:
        """(height, number of height x width blocks with a nonzero) of a width in `WIDTHS`, or 1."""
        return self.row_blocks if width == 1 else tuple((h, number) for h, w, number in self.wide_blocks if w == width)

    def bundles_of(self, width: int) -> tuple[tuple[int, int, int], ...]:
        """The bundles where so many neighbouring columns are one; none where that is not known."""
        return {1: self.bundles, WORD: self.word_bundles}.get(width, ())

    def singles_of(self, width: int) -> int:
        """Nonzeros that are in none of these bundles, or words with nonzeros."""
        return max(self._stored(width) - sum(height * columns for height, columns, _ in self.bundles_of(width)), 0)

    def parts_of(self, width: int) -> str:
        """Of what the split format consists, e.g. "62 % of the nonzeros in columns of 4 rows, 38 % alone"."""
        held = [(height * columns, f"in columns of {height} rows") for height, columns, _ in self.bundles_of(width)]
        held = [(count, where) for count, where in [*held, (self.singles_of(width), "alone")] if count]
        shares = ", ".join(f"{100 * count / self._stored(width):.0f} % {where}" for count, where in held)
        return shares.replace(" % ", f" % of the {'nonzeros' if width == 1 else 'words'} ", 1)

    def _stored(self, width: int) -> int:
        return self.nonzeros if width == 1 else dict(self.blocks_of(width))[1]

    def seen_by(self, name: str, width: int) -> str:
        """The pattern in words, and what a format makes of it, if that is several things."""
        return f"{self.pattern}; {self.parts_of(width)}" if name == "split" and self.nonzeros else self.pattern

    @property
    def pattern(self) -> str:
        """In words, e.g. "90.9 % zeros, 4x1 blocks, 12 of 64 rows empty"."""
        parts = [f"{100 * (1 - self.density):.1f} % zeros"]
        if self.block:
            parts.append(f"{self.block[0]}x{self.block[1]} blocks")
        if self.group:
            parts.append(f"{self.group[0]}:{self.group[1]}")
        if self.empty_rows:
            parts.append(f"{self.empty_rows} of {self.rows} rows empty")
        if self.empty_columns:
            parts.append(f"{self.empty_columns} of {self.columns} columns empty")
        if 0 < self.full_rows < self.rows:
            parts.append(f"{self.full_rows} of {self.rows} rows nearly full")
        if 0 < self.full_columns < self.columns:
            parts.append(f"{self.full_columns} of {self.columns} columns nearly full")
        return ", ".join(parts)


def facts_of(weight: NDArray[np.generic] | Coo) -> Facts:
    """Facts of a weight [outputs, ...]; all axes after the first are the reduction."""
    rows = weight.shape[0] if weight.shape else 1
    columns = math.prod(weight.shape[1:])
    stored, of_bytes = _nonzero_positions(weight), _elements(weight).dtype == np.int8
    row, column = np.divmod(stored, max(columns, 1))
    per_row, per_column = np.bincount(row, minlength=rows), np.bincount(column, minlength=columns)
    taps = math.prod(weight.shape[2:])
    channels = column % max(taps, 1) * (columns // max(taps, 1)) + column // max(taps, 1)  # beside each other
    sparse = len(stored) < 0.9 * rows * columns
    windows = _windows(row, column, rows, columns)
    return Facts(
        rows=rows,
        columns=columns,
        nonzeros=len(stored),
        empty_rows=int(np.count_nonzero(per_row == 0)),
        empty_columns=int(columns - np.count_nonzero(per_column)),
        longest_row=int(per_row.max(initial=0)),
        block=_block(row, column, rows, columns) if sparse else None,
        group=_group(windows, len(stored), rows, columns),
        row_blocks=tuple((height, _blocks(row, column, rows, columns, (height, 1))) for height in HEIGHTS),
        wide_blocks=tuple(
            (height, width, _blocks(row, channels, rows, columns, (height, width)))
            for height in HEIGHTS
            for width in WIDTHS
        ),
        bundles=_bundles(row, column, rows, columns),
        word_bundles=_word_bundles(row, column, rows, columns) if of_bytes and len(weight.shape) == 2 else (),
        windows=windows,
        full_rows=int(np.count_nonzero(per_row >= _NEARLY_FULL * columns)) if columns else 0,
        full_columns=int(np.count_nonzero(per_column >= _NEARLY_FULL * rows)) if rows else 0,
    )


def _nonzero_positions(weight: NDArray[np.generic] | Coo) -> NDArray[np.int64]:
    """Flat row-major positions; zeros that a sparse weight stores do not count."""
    if isinstance(weight, Coo):
        stored: NDArray[np.bool_] = np.asarray(weight.values != 0)
        return weight.indices[stored]
    positions: NDArray[np.int64] = np.flatnonzero(np.ascontiguousarray(weight).reshape(-1))
    return positions


def _elements(weight: NDArray[np.generic] | Coo) -> NDArray[np.generic]:
    """The numbers of a weight."""
    return weight.values if isinstance(weight, Coo) else weight


def _block(row: NDArray[np.int64], column: NDArray[np.int64], rows: int, columns: int) -> tuple[int, int] | None:
    """The largest block shape whose nonzero blocks are nearly full."""
    fitting = [
        shape
        for shape in BLOCKS
        if len(row) >= _FULL_BLOCKS * math.prod(shape) * max(_blocks(row, column, rows, columns, shape), 1)
    ]
    return max(fitting, key=lambda shape: shape[0] * shape[1], default=None)


def _blocks(row: NDArray[np.int64], column: NDArray[np.int64], rows: int, columns: int, shape: tuple[int, int]) -> int:
    """How many blocks hold a nonzero."""
    height, width = shape
    across = -(-columns // width)
    held = np.zeros(-(-rows // height) * across, dtype=bool)
    held[row // height * across + column // width] = True
    return int(np.count_nonzero(held))


def _bundles(
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    rows: int,
    columns: int,
    sharings: Sequence[Sharing] = SHARINGS,
) -> tuple[tuple[int, int, int], ...]:
    """Columns and bundles of the split format, from a sample of groups of rows; `row` rises.

    One of each few groups with about as many nonzeros stands for all of these.
    """
    bounds = np.minimum(np.arange(-(-rows // GROUP) + 1) * GROUP, rows)
    ends = np.searchsorted(row, bounds)
    counts = np.diff(ends)
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    found = dict[int, NDArray[np.float64]]()
    for alike in np.array_split(order, min(len(order), _SAMPLED)) if len(order) else ():
        group = alike[len(alike) // 2]
        inside = slice(ends[group], ends[group + 1])
        pointers = np.searchsorted(row[inside], np.arange(bounds[group], bounds[group + 1] + 1)).astype(np.int32)
        ones = np.ones(counts[group], dtype=np.float32)
        csr = Csr((len(pointers) - 1, columns), ones, column[inside].astype(np.int32), pointers)
        split = Split.encode(csr, sharings=sharings)
        scale = counts[alike].sum() / counts[group]
        for part in split.bundles:
            number = scale * np.array([len(part.columns), len(part.members)])
            found[part.height] = found.get(part.height, np.zeros(2)) + number
    return tuple((height, round(float(number[0])), round(float(number[1]))) for height, number in found.items())


def _word_bundles(
    row: NDArray[np.int64], column: NDArray[np.int64], rows: int, columns: int
) -> tuple[tuple[int, int, int], ...]:
    """The same of words of four columns."""
    words = -(-columns // WORD)
    held = np.unique(row * words + column // WORD)
    if len(held) >= _NEARLY_FULL * rows * words:  # a dense kernel shares more
        return ()
    return _bundles(*np.divmod(held, words), rows, words, WORD_SHARINGS)


def _windows(row: NDArray[np.int64], column: NDArray[np.int64], rows: int, columns: int) -> tuple[tuple[int, int], ...]:
    """For each width of `WINDOWS`, the most nonzeros in a window of a row."""
    narrow, widest = WINDOWS[0], WINDOWS[-1]
    across = -(-columns // widest) * (widest // narrow)
    counts = np.bincount(row * across + column // narrow, minlength=rows * across)
    return tuple((width, int(counts.reshape(-1, width // narrow).sum(axis=1).max(initial=0))) for width in WINDOWS)


def _group(windows: tuple[tuple[int, int], ...], nonzeros: int, rows: int, columns: int) -> tuple[int, int] | None:
    """The n:m of largest share of nonzeros among its n."""
    shares = {
        (kept, of): nonzeros / (kept * rows * (columns // of))
        for of, kept in windows
        if 0 < kept <= of // 2 and columns % of == 0
    }
    best = max(shares, key=lambda group: shares[group], default=None)
    return best if best is not None and shares[best] >= _FULL_GROUPS else None
