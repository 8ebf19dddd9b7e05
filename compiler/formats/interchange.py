"""Weights of other libraries as arrays or `Coo`: SciPy's and torch's sparse layouts, and whatever speaks DLPack.

The functions take plain arrays. Entries may be in any order; entries at the same place are added up, as those libraries
do. Nothing is made dense on the way, and zeros inside blocks are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from sparsec.formats.coo import Coo

Integers = NDArray[np.integer]
Values = NDArray[np.generic]
FromCompressed = Callable[[tuple[int, ...], Integers, Integers, Values], Coo]  # shape, pointers, indices, values


class ScipySparse(Protocol):
    """What all sparse arrays and matrices of SciPy have."""

    @property
    def format(self) -> str:
        """ "csr", "csc", "bsr", "coo", "dia", "dok" or "lil"."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""

    def tocoo(self) -> ScipyCoo:
        """As coordinates."""


class ScipyCoo(Protocol):
    """SciPy's `coo_array` and `coo_matrix`."""

    @property
    def coords(self) -> Sequence[Integers]:
        """The coordinates along each axis."""

    @property
    def data(self) -> Values:
        """The entries."""


def weight_of(value: object) -> NDArray[np.generic] | Coo:
    """A NumPy array, `Coo`, sparse array of SciPy, or anything dense that speaks DLPack, whose memory is shared.

    Raises `ValueError` if it is malformed, `TypeError` if it is something else.
    """
    if isinstance(value, (np.ndarray, Coo)):
        return value
    if hasattr(value, "tocoo") and hasattr(value, "format"):
        return from_scipy(cast(ScipySparse, value))
    if hasattr(value, "__dlpack__"):
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError) as error:
            raise ValueError(f"it cannot be read through DLPack: {error}") from error
    raise TypeError(f"a {type(value).__name__} is no array of NumPy or SciPy and does not speak DLPack")


def from_scipy(matrix: ScipySparse) -> Coo:
    """From any sparse array or matrix of SciPy; those that are not compressed become coordinates first."""
    shape = tuple(int(size) for size in matrix.shape)
    if matrix.format in _COMPRESSED and len(shape) == 2:
        pointers, indices, values = (np.asarray(getattr(matrix, name)) for name in ("indptr", "indices", "data"))
        return _COMPRESSED[matrix.format](shape, pointers, indices, values)
    entries = matrix.tocoo()
    return from_coo(shape, np.stack([np.asarray(axis) for axis in entries.coords]), np.asarray(entries.data))


def from_coo(shape: tuple[int, ...], coordinates: Integers, values: Values) -> Coo:
    """From coordinates [rank, entries] (torch `indices()`, SciPy `coords` stacked)."""
    places = np.asarray(coordinates, dtype=np.int64).reshape(len(shape), -1)
    limits = np.asarray(shape, dtype=np.int64)[:, None]
    if ((places < 0) | (places >= limits)).any():
        raise ValueError(f"coordinates leave the shape {shape}")
    flat = np.ravel_multi_index(tuple(places), shape) if places.size else np.zeros(0)
    return _summed(shape, np.asarray(flat, dtype=np.int64), values)


def from_csr(shape: tuple[int, ...], pointers: Integers, columns: Integers, values: Values) -> Coo:
    """From compressed rows: `indptr`/`crow_indices`, `indices`/`col_indices`, `data`/`values`."""
    rows = _expand(pointers, shape[0], len(columns))
    return from_coo(shape, np.stack([rows, np.asarray(columns, dtype=np.int64)]), values)


def from_csc(shape: tuple[int, ...], pointers: Integers, rows: Integers, values: Values) -> Coo:
    """From compressed columns."""
    columns = _expand(pointers, shape[1], len(rows))
    return from_coo(shape, np.stack([np.asarray(rows, dtype=np.int64), columns]), values)


def from_bsr(shape: tuple[int, ...], pointers: Integers, columns: Integers, blocks: Values) -> Coo:
    """From compressed rows of dense `blocks` [count, height, width]."""
    return _of_blocks(shape, _expand(pointers, _blocks_along(shape, 0, blocks), len(columns)), columns, blocks)


def from_bsc(shape: tuple[int, ...], pointers: Integers, rows: Integers, blocks: Values) -> Coo:
    """From compressed columns of dense `blocks` [count, height, width]."""
    return _of_blocks(shape, rows, _expand(pointers, _blocks_along(shape, 1, blocks), len(rows)), blocks)


_COMPRESSED: Mapping[str, FromCompressed] = {"csr": from_csr, "csc": from_csc, "bsr": from_bsr}


def from_cutlass(shape: tuple[int, ...], packed: Values, meta: Integers) -> Coo:
    """From 2:4 weights as torch packs them for CUTLASS (1:2 for float32): `packed` [rows, columns / 2], and `meta`
    [rows, words], whose words hold two bits for each 16-bit (8-bit, if words have 32 bits) half of a kept value, in the order
    of `reorder_meta` in CUTLASS' host_reorder.h.
    """
    (rows, kept), bits = packed.shape, 8 * meta.itemsize
    wide = 2 if packed.dtype == np.float32 else 1  # halves of a value
    words_of_row, rest = divmod(2 * kept * wide, bits)
    if (
        shape != (rows, 2 * kept)
        or meta.shape != (rows, words_of_row)
        or rest
        or words_of_row % 2
        or rows % (512 // bits)
    ):
        raise ValueError(f"2:4 values {packed.shape} and metadata {meta.shape} do not fit the shape {shape}")
    words = meta.astype(np.int64).reshape(-1)[_cutlass_places(rows, meta.shape[1], bits)]
    codes = words[:, :, None] >> np.arange(0, bits, 2) & 3
    inside = codes.reshape(rows, kept, wide)[:, :, 0] // wide
    group = np.arange(kept) // (2 // wide) * (4 // wide)
    row, place = np.nonzero(packed)
    return from_coo(shape, np.stack([row, (group + inside)[row, place]]), packed[row, place])


def _cutlass_places(rows: int, words: int, bits: int) -> NDArray[np.int64]:
    """Where in the reordered metadata each word [rows, words] is: rows dealt out in groups, the corners of 2 x 2 blocks
    swapped, and pairs of columns one behind the other.
    """
    row, column = np.indices((rows, words))
    group, apart = (32, 4) if bits == 16 else (16, 2)
    row = row // group * group + row % 8 * apart + row % group // 8
    swapped = (row % 2 == 0).astype(np.int64) * (column % 2 == 1) - (row % 2 == 1).astype(np.int64) * (column % 2 == 0)
    row, column = row + swapped, column - swapped
    places: NDArray[np.int64] = column // 2 * rows * 2 + row * 2 + column % 2
    return places


def _blocks_along(shape: tuple[int, ...], axis: int, blocks: Values) -> int:
    """Rows (0) or columns (1) of blocks."""
    height, width = int(blocks.shape[1]), int(blocks.shape[2])
    if not height or not width or shape[0] % height or shape[1] % width:
        raise ValueError(f"blocks {height}x{width} do not divide the shape {shape}")
    return shape[axis] // (width if axis else height)


def _of_blocks(shape: tuple[int, ...], rows: Integers, columns: Integers, blocks: Values) -> Coo:
    """From blocks at these rows and columns of blocks."""
    if not len(rows) == len(columns) == len(blocks):
        raise ValueError(f"{len(columns)} places for {len(blocks)} blocks")
    _, height, width = blocks.shape
    number, row, column = np.nonzero(blocks)
    down, across = (np.asarray(each, dtype=np.int64)[number] for each in (rows, columns))
    return from_coo(shape, np.stack([down * height + row, across * width + column]), blocks[number, row, column])


def _expand(pointers: Integers, rows: int, entries: int) -> NDArray[np.int64]:
    """The row of each entry."""
    counts: NDArray[np.int64] = np.diff(np.asarray(pointers, dtype=np.int64)).astype(np.int64)
    if len(counts) != rows or (counts < 0).any() or int(counts.sum()) != entries or (rows and pointers[0] != 0):
        raise ValueError(f"pointers do not describe {rows} rows with {entries} entries")
    return np.repeat(np.arange(rows, dtype=np.int64), counts)


def _summed(shape: tuple[int, ...], offsets: NDArray[np.int64], values: Values) -> Coo:
    if len(offsets) != len(values):
        raise ValueError(f"{len(offsets)} places for {len(values)} values")
    order = np.argsort(offsets, kind="stable")
    offsets, values = offsets[order], np.asarray(values)[order]
    first = np.flatnonzero(np.diff(offsets, prepend=-1))
    sums = values if len(first) == len(values) else np.add.reduceat(values, first)
    return Coo(tuple(shape), offsets[first], sums)
