"""What a product costs on a GPU: time of cuBLAS and of our own kernels, so that dense stays dense where it is faster.

A kernel's time is a launch, elements times what one costs whether it is there or not, nonzeros times what one costs, and
more for each eight tokens after the first; without tensor cores a launch and the stream's bytes; dense products cost the
weight's bytes, or their arithmetic. Fitted to what an
H100 took (`python -m bench cuda`), a tenth off at most; elements scale with the multiprocessors of another GPU, bytes with
its memory's data sheet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from sparsec.cuda.streams.spmv_order import FARTHEST
from sparsec.cuda.streams.spmv_streams import SIGNED, STEP, WIDTHS

Kernel: TypeAlias = Literal[
    "bitmap_mma", "coo_mma", "coo_wgmma", "nm24_mma", "spmv", "spmv_ordered", "w4_nm24_mma", "w4_group_mma"
]

CERTAIN = 0.9  # of another time, what is said to be faster: predictions may be a tenth off

HOPPER_SHARED_BYTES = 227 << 10  # for a block of threads
_MULTIPROCESSORS, _BYTES_PER_SECOND = 132, 3.352e12  # of the H100 that rows were measured on
_DENSE_LAUNCH, _DENSE_SHARE = 4.2, 0.88  # microseconds, share of the memory's data sheet
_DENSE_FLOPS = 5.4e12  # of a multiprocessor
_HIDING = 6
_STREAM_SHARE = 0.886  # of the memory's data sheet, that `spmv` reads its streams at


class Target(Protocol):
    """What encoding a weight looks at of a device."""

    @property
    def multiprocessors(self) -> int: ...

    @property
    def shared_bytes(self) -> int: ...


class Processor(Protocol):
    """What the model needs to know of a device."""

    @property
    def multiprocessors(self) -> int: ...

    @property
    def bytes_per_second(self) -> float: ...

    @property
    def architecture(self) -> tuple[int, int]: ...


@dataclass(frozen=True, slots=True)
class Tiles:
    """What eight tokens after the first add: microseconds, and picoseconds of an element."""

    launch: float
    element: float


@dataclass(frozen=True, slots=True)
class Row:
    """Of a kernel: microseconds of a launch, picoseconds on the whole GPU of an element and of a nonzero; what eight more
    tokens add, up to 32 tokens and from there to 64; and what an element takes at `least`, to be multiplied as one that may
    be zero, however few are not."""

    launch: float
    element: float
    nonzero: float
    few: Tiles
    more: Tiles
    least: float = 0.0


ROWS: dict[Kernel, Row] = {
    "bitmap_mma": Row(7.4, 0.095, 0.600, Tiles(1.05, 0.016), Tiles(2.40, 0.040), 0.185),
    "coo_mma": Row(6.7, 0.046, 1.390, Tiles(1.17, 0.022), Tiles(1.92, 0.067)),
    "coo_wgmma": Row(6.6, 0.105, 0.594, Tiles(0.48, 0.0061), Tiles(0.85, 0.0075)),
    "nm24_mma": Row(3.0, 0.003, 0.721, Tiles(0.30, 0.005), Tiles(0.70, 0.009)),
    "w4_nm24_mma": Row(4.5, 0.142, 0.0, Tiles(0.8, 0.001), Tiles(1.20, 0.050)),
    "w4_group_mma": Row(4.7, 0.072, 0.128, Tiles(1.2, 0.027), Tiles(1.20, 0.060)),
}


@dataclass(frozen=True, slots=True)
class Gather:
    """Of a kernel without tensor cores, for at most so many tokens at a time: microseconds of a launch, and how much longer
    than from memory its bytes take."""

    tokens: int
    launch: float
    slower: float


GATHERS: dict[Kernel, tuple[Gather, ...]] = {
    "spmv": (Gather(1, 4.9, 1.0), Gather(4, 5.5, 1.02), Gather(8, 7.8, 1.63)),
    "spmv_ordered": (Gather(1, 4.9, 1.0), Gather(4, 5.5, 1.02), Gather(8, 7.6, 1.05)),
}


def sparse_microseconds(kernel: Kernel, m: int, k: int, nnz: int, tokens: int, on: Processor) -> float:
    """Of one product of a weight [m, k] with so many nonzeros and so many tokens; 2:4 weights count half as nonzero."""
    if kernel in GATHERS:
        return _gathered_microseconds(kernel, m, k, nnz, tokens, on)
    row = ROWS[kernel]
    slower, narrower = _MULTIPROCESSORS / on.multiprocessors, _BYTES_PER_SECOND / on.bytes_per_second
    whole, rest = divmod(tokens, 64)
    total = row.launch
    for part in [64] * whole + [rest] * (rest > 0):  # each reads the weight
        tiles, added = -(-part // 8) - 1, row.few if part <= 32 else row.more
        streamed = m * k * row.element * slower + nnz * row.nonzero * narrower
        multiplied = m * k * tiles * added.element * slower
        total += tiles * added.launch + 1e-6 * (max(streamed, m * k * row.least * slower) + multiplied)
    return total


def _gathered_microseconds(kernel: Kernel, m: int, k: int, nnz: int, tokens: int, on: Processor) -> float:
    rows = GATHERS[kernel]
    microseconds = 1e6 * _stream_bytes(kernel, m, k, nnz) / (_STREAM_SHARE * on.bytes_per_second)
    total, most = 0.0, rows[-1].tokens
    for first in range(0, tokens, most):
        row = next(each for each in rows if min(tokens - first, most) <= each.tokens)
        total += row.launch + row.slower * microseconds
    return total


def _stream_bytes(kernel: Kernel, m: int, k: int, nnz: int) -> float:
    """Of a matrix whose nonzeros are anywhere: values and distances, zeros where a distance is too long for its bits, and half
    a step behind each row."""

    def nbytes(bits: int, longest: int) -> float:
        alone = (1 - nnz / (m * k)) ** longest  # nonzeros that are farther from the one before
        return ((nnz / (1 - alone) if nnz else 0.0) + m * STEP / 2) * (2 + bits / 8)

    if kernel == "spmv_ordered":
        return nbytes(SIGNED, FARTHEST)
    return min(nbytes(bits, (1 << bits) - 1) for bits in WIDTHS)


def dense_microseconds(m: int, k: int, tokens: int, on: Processor) -> float:
    """Of cuBLAS with 16-bit elements."""
    multiplied = 2.0 * m * k * tokens / (_DENSE_FLOPS * on.multiprocessors)
    moved = least_microseconds(2.0 * m * k, m, k, tokens, on) - _DENSE_LAUNCH
    # Where both take about as long, neither hides all of the other.
    return _DENSE_LAUNCH + math.pow(moved**_HIDING + (1e6 * multiplied) ** _HIDING, 1 / _HIDING)


def least_microseconds(weight_bytes: float, m: int, k: int, tokens: int, on: Processor) -> float:
    """What products with 16-bit activations take at least: a launch, and to move what they read and write."""
    moved = weight_bytes + 2.0 * tokens * (m + k)
    return _DENSE_LAUNCH + 1e6 * moved / (_DENSE_SHARE * on.bytes_per_second)
