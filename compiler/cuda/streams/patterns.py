"""Patterns of zeros by name: what `compress` is asked for, and whether a matrix has it.

* "unstructured": any zeros;
* "N:M": at most N nonzeros in each M neighbouring columns of a row, from a multiple of M on;
* "V:N:M", as in VENOM (Castro et al., SC 2023): also, the nonzeros of V neighbouring rows in M columns are in at most four
  of them;
* "block:RxC": blocks of R rows and C columns with a nonzero are kept whole. Every matrix has it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsec.errors import InputError, ModelError

SELECTED = 4  # columns of M that the rows of "V:N:M" may use

_GROUPS, _BLOCKS = re.compile(r"(?:(\d+):)?(\d+):(\d+)"), re.compile(r"block:(\d+)x(\d+)")


@dataclass(frozen=True, slots=True)
class Unstructured:
    """Any zeros."""


@dataclass(frozen=True, slots=True)
class Groups:
    """At most `n` nonzeros in each `m` columns; `rows` share the columns, if they are more than one."""

    n: int
    m: int
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks that are kept whole."""

    rows: int
    columns: int


PatternKind: TypeAlias = Unstructured | Groups | Blocks


def parse(name: str) -> PatternKind:
    """The pattern of that name; raises `InputError` that says what is wrong with it."""
    if name == "unstructured":
        return Unstructured()
    if found := _BLOCKS.fullmatch(name):
        rows, columns = map(int, found.groups())
        if rows and columns:
            return Blocks(rows, columns)
    if found := _GROUPS.fullmatch(name):
        rows, n, m = (int(each or 1) for each in found.groups())
        if not 0 < n < m:
            raise InputError("There is no such pattern.", expected="fewer nonzeros than columns, N < M", got=name)
        if not rows or (rows > 1 and (m <= SELECTED or n > SELECTED)):
            raise InputError(
                "There is no such pattern.",
                expected=f"V:N:M with {SELECTED} of more columns: V > 0, N <= {SELECTED} < M",
                got=name,
            )
        return Groups(n, m, rows)
    raise InputError("There is no such pattern.", expected="unstructured, N:M, V:N:M or block:RxC", got=name)


def check(bits: NDArray[np.uint16], pattern: Groups) -> None:
    """Raise `ModelError` unless the matrix [m, k], given as its bits, has the pattern."""
    m, k = bits.shape
    kept = np.zeros((-(-m // pattern.rows) * pattern.rows, -(-k // pattern.m) * pattern.m), dtype=bool)
    kept[:m, :k] = (bits << 1) != 0
    _refuse(kept.reshape(len(kept), -1, pattern.m).sum(axis=2), pattern, pattern.n, 1, "nonzeros")
    if pattern.rows > 1:
        blocks = len(kept) // pattern.rows
        used = np.asarray(kept.reshape(blocks, pattern.rows, -1).any(axis=1))
        _refuse(used.reshape(blocks, -1, pattern.m).sum(axis=2), pattern, SELECTED, pattern.rows, "columns in use")


def _refuse(counts: NDArray[np.int64], pattern: Groups, most: int, rows: int, what: str) -> None:
    """Raise `ModelError` for the first of these counts that is too large."""
    if (counts > most).any():
        row, group = np.argwhere(counts > most)[0]
        raise ModelError(
            "The weight has not the pattern.",
            where=f"row {row * rows}, columns {group * pattern.m} and on",
            expected=f"at most {most} {what} in {pattern.m} columns",
            got=f"{counts[row, group]} {what}",
        )
