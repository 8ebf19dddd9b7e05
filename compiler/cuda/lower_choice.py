"""Which pattern each weight of a whole network is multiplied by on a GPU, and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.coo_streams import DENSEST
from sparsec.cuda.device_cost import Kernel, Processor, dense_microseconds, sparse_microseconds
from sparsec.cuda.weights import Pattern
from sparsec.report import Candidate

CERTAIN = 0.95  # of the time of dense: predictions may be off by this much
DENSE = "dense_mma"


@dataclass(frozen=True, slots=True)
class Reference:
    """The GPU that choices are for where there is none: an H100."""

    multiprocessors: int = 132
    bytes_per_second: float = 3.352e12


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
    nonzeros = int(np.count_nonzero(bits << 1))
    dense = Candidate(DENSE, "dense", 1e3 * dense_microseconds(m, k, tokens, on))
    patterns = _patterns(bits, nonzeros)
    times = {
        pattern: Candidate(
            kernel, pattern, None if dense_only else 1e3 * sparse_microseconds(kernel, m, k, count, tokens, on),
            "zeros are not to be used" if dense_only else refusal,
        )
        for pattern, (kernel, count, refusal) in patterns.items()
    }  # fmt: skip
    candidates = (dense, *times.values())
    able = {pattern: each for pattern, each in times.items() if each.refusal is None and each.predicted_ns is not None}
    assert dense.predicted_ns is not None
    if not able:
        reason = "dense: " + ("zeros are not to be used" if dense_only else f"{1 - nonzeros / bits.size:.1%} zeros")
        return Choice(None, DENSE, candidates, reason, dense.predicted_ns)
    best = min(able, key=lambda pattern: able[pattern].predicted_ns or 0.0)
    predicted = able[best].predicted_ns or 0.0
    ratio = dense.predicted_ns / predicted
    if predicted < CERTAIN * dense.predicted_ns:
        reason = f"{best}: {able[best].kernel} is predicted to be {ratio:.2f} times as fast as dense"
        return Choice(best, able[best].kernel, candidates, reason, predicted)
    reason = f"dense: {able[best].kernel} would take {1 / ratio:.2f} times as long"
    return Choice(None, DENSE, candidates, reason, dense.predicted_ns)


def _patterns(bits: NDArray[np.uint16], nonzeros: int) -> dict[Pattern, tuple[Kernel, int, str | None]]:
    """What a weight may be compressed as: the kernel, elements that it counts, and why it is not to be used."""
    zeros = 1 - nonzeros / bits.size
    if zeros < _WORTH:
        return {}
    unstructured: Kernel = "coo_mma" if nonzeros <= DENSEST * bits.size else "bitmap_mma"
    found: dict[Pattern, tuple[Kernel, int, str | None]] = {"unstructured": (unstructured, nonzeros, None)}
    if two_of_four(bits):
        found["2:4"] = ("nm24_mma", bits.size // 2, None)
    return found


_WORTH = 0.3  # share of zeros from which they can be


def two_of_four(bits: NDArray[np.uint16]) -> bool:
    """Whether each four neighbouring columns have at most two nonzeros."""
    kept = (bits << 1) != 0
    whole = np.pad(kept, ((0, 0), (0, -bits.shape[1] % 4))).reshape(len(bits), -1, 4)
    return bool((whole.sum(axis=2) <= 2).all())
