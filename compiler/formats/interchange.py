"""Sparse arrays of other libraries as `Coo`: SciPy's and torch's CSR, CSC, BSR and COO, given as their plain arrays.

Entries may be in any order; entries at the same place are added up, as both libraries do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsec.formats.coo import Coo

Integers = NDArray[np.integer]
Values = NDArray[np.generic]


def from_coo(shape: tuple[int, ...], coordinates: Integers, values: Values) -> Coo:
    """From coordinates [rank, entries] (torch `indices()`, SciPy `coords` stacked)."""
    places = np.asarray(coordinates, dtype=np.int64).reshape(len(shape), -1)
    limits = np.asarray(shape, dtype=np.int64)[:, None]
    if ((places < 0) | (places >= limits)).any():
        raise ValueError(f"coordinates leave the shape {shape}")
    flat = np.ravel_multi_index(tuple(places), shape) if places.size else np.zeros(0)
    return _summed(shape, np.asarray(flat, dtype=np.int64), values)


def from_csr(shape: tuple[int, int], pointers: Integers, columns: Integers, values: Values) -> Coo:
    """From compressed rows: `indptr`/`crow_indices`, `indices`/`col_indices`, `data`/`values`."""
    rows = _expand(pointers, shape[0], len(columns))
    return from_coo(shape, np.stack([rows, np.asarray(columns, dtype=np.int64)]), values)


def from_csc(shape: tuple[int, int], pointers: Integers, rows: Integers, values: Values) -> Coo:
    """From compressed columns."""
    columns = _expand(pointers, shape[1], len(rows))
    return from_coo(shape, np.stack([np.asarray(rows, dtype=np.int64), columns]), values)


def from_bsr(shape: tuple[int, int], pointers: Integers, columns: Integers, blocks: Values) -> Coo:
    """From compressed rows of dense `blocks` [count, height, width]; zeros inside blocks are left out."""
    _, height, width = blocks.shape
    if shape[0] % height or shape[1] % width:
        raise ValueError(f"blocks {height}x{width} do not divide the shape {shape}")
    down = _expand(pointers, shape[0] // height, len(columns))
    number, row, column = np.nonzero(blocks)
    places = np.stack([down[number] * height + row, np.asarray(columns, dtype=np.int64)[number] * width + column])
    return from_coo(shape, places, blocks[number, row, column])


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
