"""What a product costs on a GPU: time of cuBLAS and of this folder's kernels, so that dense stays dense where it is faster.

A kernel's time is a launch, elements times what one costs whether it is there or not, nonzeros times what one costs, and
more for each eight tokens after the first; dense products cost the weight's bytes, or their arithmetic. Measured on an
H100 (`python -m bench cuda`), where predictions are within a tenth; elements scale with the multiprocessors of another GPU,
bytes with its memory's data sheet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

Kernel: TypeAlias = Literal["bitmap_mma", "coo_mma", "nm24_mma"]

_MULTIPROCESSORS, _BYTES_PER_SECOND = 132, 3.352e12  # of the H100 that rows were measured on
_DENSE_LAUNCH, _DENSE_SHARE = 4.5, 0.88  # microseconds, share of the memory's data sheet
_DENSE_FLOPS = 5e12  # of a multiprocessor


class Processor(Protocol):
    """What the model needs to know of a device."""

    @property
    def multiprocessors(self) -> int: ...

    @property
    def bytes_per_second(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Row:
    """Of a kernel: microseconds of a launch, then picoseconds on the whole GPU of an element, of a nonzero, and of an
    element for each eight tokens after the first, up to 32 tokens and above."""

    launch: float
    element: float
    nonzero: float
    tile: float
    late_tile: float


ROWS: dict[Kernel, Row] = {
    "bitmap_mma": Row(7.5, 0.148, 0.569, 0.027, 0.085),
    "coo_mma": Row(7.5, 0.060, 1.16, 0.028, 0.120),
    "nm24_mma": Row(7.0, 0.180, 0.43, 0.017, 0.060),
}


def sparse_microseconds(kernel: Kernel, m: int, k: int, nnz: int, tokens: int, on: Processor) -> float:
    """Of one product of a weight [m, k] with so many nonzeros and so many tokens; 2:4 weights count half as nonzero."""
    row = ROWS[kernel]
    rounds, rest = divmod(tokens, 64)
    parts = [64] * rounds + ([rest] if rest else [])
    slower, narrower = _MULTIPROCESSORS / on.multiprocessors, _BYTES_PER_SECOND / on.bytes_per_second
    total = row.launch
    for part in parts:
        tiles = -(-part // 8) - 1
        each = row.tile if tiles < 4 else row.late_tile
        total += (m * k * (row.element + tiles * each) * slower + nnz * row.nonzero * narrower) * 1e-6
    return total


def dense_microseconds(m: int, k: int, tokens: int, on: Processor) -> float:
    """Of cuBLAS with 16-bit elements."""
    moved = 2.0 * (m * k + tokens * (m + k)) / (_DENSE_SHARE * on.bytes_per_second)
    multiplied = 2.0 * m * k * tokens / (_DENSE_FLOPS * on.multiprocessors)
    return _DENSE_LAUNCH + 1e6 * max(moved, multiplied)
