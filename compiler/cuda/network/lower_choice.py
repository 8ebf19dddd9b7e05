"""Which pattern each weight of a whole network is multiplied by on a GPU, and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.products.device_cost import Processor, dense_microseconds, sparse_microseconds
from sparsec.cuda.products.sparse_weight import FEW
from sparsec.cuda.products.weights import Pattern, fastest
from sparsec.report import Candidate

CERTAIN = 0.95  # of the time of dense: predictions may be off by this much
DENSE = "dense_mma"


@dataclass(frozen=True, slots=True)
class Reference:
    """The GPU that choices are for where there is none: an H100."""

    multiprocessors: int = 132
    bytes_per_second: float = 3.352e12
    architecture: tuple[int, int] = (9, 0)


@dataclass(frozen=True, slots=True)
class Choice:
    """Of one weight [m, k]: a pattern, or None for dense; all candidates, and the reason in a sentence."""

    pattern: Pattern | None
    kernel: str
    candidates: tuple[Candidate, ...]
    reason: str
    predicted_ns: float


def choose_pattern(bits: NDArray[np.uint16], tokens: int, on: Processor, *, dense_only: bool = False) -> Choice:
    """Decide on products of a weight of 16 bits with so many tokens."""
    m, k = bits.shape
    dense_us = dense_microseconds(m, k, tokens, on)
    dense = Candidate(DENSE, "dense", 1e3 * dense_us)
    times = _patterns(bits, tokens, on)
    refusal = "zeros are not to be used" if dense_only else None
    sparse = [
        Candidate(kernel, pattern, None if dense_only else 1e3 * time, refusal)
        for pattern, (kernel, time) in times.items()
    ]
    candidates = (dense, *sparse)
    if dense_only or not times:
        zeros = 1 - np.count_nonzero(bits << 1) / bits.size
        return Choice(None, DENSE, candidates, f"dense: {refusal or f'{zeros:.1%} zeros'}", 1e3 * dense_us)
    best = min(times, key=lambda pattern: times[pattern][1])
    kernel, time = times[best]
    if time < CERTAIN * dense_us:
        reason = f"{best}: {kernel} is predicted to be {dense_us / time:.2f} times as fast as dense"
        return Choice(best, kernel, candidates, reason, 1e3 * time)
    reason = f"dense: {kernel} would take {time / dense_us:.2f} times as long"
    return Choice(None, DENSE, candidates, reason, 1e3 * dense_us)


def _patterns(bits: NDArray[np.uint16], tokens: int, on: Processor) -> dict[Pattern, tuple[str, float]]:
    """What a weight may be compressed as: the kernel, and its time in microseconds."""
    m, k = bits.shape
    nonzeros = int(np.count_nonzero(bits << 1))
    if 1 - nonzeros / bits.size < _WORTH:
        return {}
    unstructured = fastest(m, k, nonzeros, (tokens,), on)
    found: dict[Pattern, tuple[str, float]] = {
        "unstructured": (unstructured, sparse_microseconds(unstructured, m, k, nonzeros, tokens, on))
    }
    if two_of_four(bits):
        if tokens > FEW:
            found["2:4"] = "nm24_wgmma", dense_microseconds(m, k, tokens, on) / _NM24_WGMMA
        else:
            found["2:4"] = "nm24_mma", sparse_microseconds("nm24_mma", m, k, bits.size // 2, tokens, on)
    return found


_WORTH = 0.3  # share of zeros from which a weight may be compressed
_NM24_WGMMA = 1.3  # times as fast as dense, for many tokens


def two_of_four(bits: NDArray[np.uint16]) -> bool:
    """Whether each four neighbouring columns have at most two nonzeros."""
    kept = (bits << 1) != 0
    whole = np.pad(kept, ((0, 0), (0, -bits.shape[1] % 4))).reshape(len(bits), -1, 4)
    return bool((whole.sum(axis=2) <= 2).all())
