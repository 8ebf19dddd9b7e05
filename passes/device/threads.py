"""How rows and columns are dealt to the threads of a GPU.

A nest without sums: each thread takes one vector of neighbouring columns. Rows with sums: a warp takes a row, or several short
ones, or, where that would be more than `_MOST_CHUNKS` vectors for a thread, as large a block of threads as is needed; thread t
takes vectors t, t + threads, …, so that a warp's accesses lie side by side, and keeps them in registers from the first nest to
the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsec.ir.module import element_of
from sparsec.passes.device.nests import Walk
from sparsec.passes.plan_memory import element_bytes

WARP = 32
_VECTORS = (8, 4, 2)  # elements
_VECTOR_BYTES = 32  # of one access: two instructions
_MOST_CHUNKS = 4
_MOST_THREADS = 1024
_ELEMENTWISE_BLOCK = 256
_ROWS_BLOCK = 128  # threads, of rows that take a warp or less


@dataclass(frozen=True, slots=True)
class Dealt:
    """Of `columns` in vectors of `lanes`, `chunks` to each of the `threads` of a row; `together` rows in one block."""

    rows: int
    columns: int
    lanes: int
    chunks: int
    threads: int
    together: int

    @property
    def block(self) -> int:
        """Threads."""
        return self.threads * self.together

    @property
    def grid(self) -> int:
        """Blocks."""
        return -(-self.rows // self.together)

    @property
    def ragged(self) -> bool:
        """True if the last chunk of some threads is beyond the row."""
        return self.chunks * self.threads * self.lanes != self.columns


def deal_rows(rows: int, columns: int, walks: Sequence[Walk]) -> Dealt:
    """For nests with sums."""
    lanes = _lanes(columns, walks)
    vectors = columns // lanes
    threads = WARP
    while threads > 2 and 2 * vectors <= threads:
        threads //= 2
    while threads < _MOST_THREADS and vectors > threads * _MOST_CHUNKS:
        threads *= 2
    return Dealt(
        rows, columns, lanes, -(-vectors // threads), threads, _ROWS_BLOCK // threads if threads <= WARP else 1
    )


def deal_elements(rows: int, columns: int, walks: Sequence[Walk]) -> Dealt:
    """For nests without: rows are single vectors then, one for each thread."""
    lanes = _lanes(columns, walks)
    return Dealt(rows * (columns // lanes), lanes, lanes, 1, 1, _ELEMENTWISE_BLOCK)


def _lanes(columns: int, walks: Sequence[Walk]) -> int:
    """The longest vector at whose multiples every access may begin."""
    walked = [walk for walk in walks if walk.column]
    widest = max((element_bytes(element_of(walk.base)) for walk in walks), default=1)
    even = all(walk.column == 1 for walk in walked) and not any(str(element_of(walk.base)) == "i1" for walk in walks)
    for lanes in _VECTORS:
        starts = [start for walk in walked for start in (walk.offset, *(stride for _, stride in walk.rows))]
        if even and lanes * widest <= _VECTOR_BYTES and not any(start % lanes for start in (columns, *starts)):
            return lanes
    return 1
