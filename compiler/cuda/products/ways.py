"""Ways to multiply by a weight on a GPU: the kernels that there are for its zeros, the fastest by the cost model first.

A weight has a form for each kernel that its products are done by, `dense` with its zeros among them. All that choose between
them ask here: weights that are compressed, networks of torch and whole models.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sparsec.cuda.products import bsr_pairs_wgmma, bsr_rows_mma, bsr_tall_wgmma, bsr_wgmma, coo_wgmma, nm24_wgmma
from sparsec.cuda.products.device_cost import (
    CERTAIN,
    Kernel,
    Processor,
    dense_microseconds,
    least_microseconds,
    sparse_microseconds,
)
from sparsec.cuda.streams import bank_streams, coo_streams
from sparsec.cuda.streams.zeros import SQUARE, UNIT, Zeros

WayKernel: TypeAlias = (
    Kernel | Literal["nm24_wgmma", "bsr_wgmma", "bsr_rows_mma", "bsr_tall_wgmma", "bsr_pairs_wgmma", "dense"]
)

_NM24_BYTES = 1.125  # of a 2:4 weight, for each of its elements: half the values, and where they are
WORTH = 0.3  # share of zeros from which other ways than dense are thought of
_NEARLY = 0.97  # of the dense way's time: what is predicted to take longer might be slower
MOST_FLOAT8 = 8  # tokens that streams are for: Hopper has no instruction for float8 but those of warpgroups

PATTERNS = {  # by which a kernel's form is known to users; the others are for any zeros
    "nm24_mma": "2:4",
    "nm24_wgmma": "2:4",
    "bsr_wgmma": "block:32x32",
    "bsr_rows_mma": "block:32x32",
    "bsr_tall_wgmma": "block:32x32",
    "bsr_pairs_wgmma": "block:64x64",
}


@dataclass(frozen=True, slots=True)
class Way:
    """A kernel, and how long a product with it should take."""

    kernel: WayKernel
    microseconds: float

    @property
    def pattern(self) -> str:
        """As which zeros are made use of."""
        return "dense" if self.kernel == "dense" else PATTERNS.get(self.kernel, "unstructured")


def ways(zeros: Zeros, tokens: int, on: Processor) -> tuple[Way, ...]:
    """Of a product with so many tokens, the fastest first."""
    m, k, nonzeros = zeros.m, zeros.k, zeros.nonzeros
    found = [Way("dense", dense_microseconds(m, k, tokens, on))]
    if zeros.share >= WORTH:
        found += [
            Way(kernel, sparse_microseconds(kernel, m, k, nonzeros, tokens, on)) for kernel in _of_any_zeros(zeros, on)
        ]
        if zeros.two_of_four:
            found.append(Way("nm24_mma", sparse_microseconds("nm24_mma", m, k, m * k // 2, tokens, on)))
        if on.architecture == nm24_wgmma.ARCHITECTURE:
            found += _of_warpgroups(zeros, tokens, on)
    return _fastest_first(found)


def ways_of_bytes(m: int, k: int, tokens: int, on: Processor, *, float8: bool) -> tuple[Way, ...]:
    """The same of a 2:4 weight [m, k] of elements of eight bits; there are no dense ones."""
    on_hopper = on.architecture == nm24_wgmma.ARCHITECTURE
    found = []
    if on_hopper:
        found.append(Way("nm24_wgmma", nm24_wgmma.microseconds(tokens, m, k, on.multiprocessors, size=1)))
    if not (float8 and on_hopper and tokens > MOST_FLOAT8):
        found.append(Way("nm24_mma", sparse_microseconds("nm24_mma", m, k, m * k // 4, tokens, on)))  # half the bytes
    return _fastest_first(found)


def ways_of_four_bits(kernel: Kernel, m: int, k: int, nonzeros: int, tokens: int, on: Processor) -> tuple[Way, ...]:
    """The same of a weight [m, k] of four bits, whose streams this kernel reads, or which is made one of 16 bits."""
    streams = Way(kernel, sparse_microseconds(kernel, m, k, nonzeros, tokens, on))
    return _fastest_first((streams, Way("dense", dense_microseconds(m, k, tokens, on))))


def dense_apart(found: Sequence[Way]) -> tuple[Way, list[Way]]:
    """The dense one of `ways`, and the others in their order."""
    (dense,) = (way for way in found if way.kernel == "dense")
    return dense, [way for way in found if way is not dense]


def preferred(found: Sequence[Way], there: Container[str]) -> list[Way]:
    """The order in which ways are tried: what is `there` already comes first, unless another is a tenth faster."""
    limit = found[0].microseconds / CERTAIN
    return sorted(found, key=lambda way: (way.kernel not in there or way.microseconds > limit, _rank(way)))


def _fastest_first(found: Iterable[Way]) -> tuple[Way, ...]:
    return tuple(sorted(found, key=_rank))


def _rank(way: Way) -> float:
    return way.microseconds * (_NEARLY if way.kernel == "dense" else 1.0)


def _of_any_zeros(zeros: Zeros, on: Processor) -> list[Kernel]:
    elements = zeros.m * zeros.k
    kernels: list[Kernel] = ["bitmap_mma", "spmv", "spmv_ordered"]
    if zeros.nonzeros <= coo_streams.DENSEST * elements:
        kernels.append("coo_mma")
    if on.architecture == coo_wgmma.ARCHITECTURE and zeros.nonzeros <= bank_streams.DENSEST * elements:
        kernels.append("coo_wgmma")
    return kernels


def _of_warpgroups(zeros: Zeros, tokens: int, on: Processor) -> list[Way]:
    m, k, workers = zeros.m, zeros.k, on.multiprocessors
    found = []
    if zeros.two_of_four:
        least = least_microseconds(_NM24_BYTES * m * k, m, k, tokens, on)
        found.append(Way("nm24_wgmma", max(least, nm24_wgmma.microseconds(tokens, m, k, workers))))
    units, squares = zeros.units * UNIT * UNIT, zeros.squares * SQUARE * SQUARE
    if units < (1 - WORTH) * m * k:
        found.append(Way("bsr_wgmma", bsr_wgmma.microseconds(tokens, m, k, zeros.units, workers)))
        found.append(Way("bsr_rows_mma", bsr_rows_mma.microseconds(tokens, m, k, zeros.units, workers)))
        found.append(Way("bsr_tall_wgmma", bsr_tall_wgmma.microseconds(tokens, m, k, zeros.units, workers)))
    if squares < (1 - WORTH) * m * k:
        found.append(Way("bsr_pairs_wgmma", bsr_pairs_wgmma.microseconds(tokens, m, k, zeros.squares, workers)))
    return found
