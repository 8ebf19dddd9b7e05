"""Which pattern each weight of a whole network is multiplied by on a GPU, and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.products.device_cost import Processor
from sparsec.cuda.products.ways import dense_apart, ways
from sparsec.cuda.products.weights import Pattern
from sparsec.cuda.streams.zeros import Zeros
from sparsec.report import Candidate

# Of the time of dense, what is promising enough for zeros to be tried: the GPU that there is then predicts or races once more
# (`resident`), so this asks for less than `device_cost.CERTAIN`.
_PROMISING = 0.95
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
    zeros = Zeros.of(bits)
    dense, sparse = dense_apart(ways(zeros, tokens, on))
    refusal = "zeros are not to be used" if dense_only else None
    candidates = (
        Candidate(DENSE, "dense", 1e3 * dense.microseconds),
        *(
            Candidate(way.kernel, way.pattern, None if dense_only else 1e3 * way.microseconds, refusal)
            for way in sparse
        ),
    )
    if dense_only or not sparse:
        reason = f"dense: {refusal or f'{zeros.share:.1%} zeros'}"
        return Choice(None, DENSE, candidates, reason, 1e3 * dense.microseconds)
    best = sparse[0]
    if best.microseconds < _PROMISING * dense.microseconds:
        ratio = dense.microseconds / best.microseconds
        reason = f"{best.pattern}: {best.kernel} is predicted to be {ratio:.2f} times as fast as dense"
        return Choice(best.pattern, best.kernel, candidates, reason, 1e3 * best.microseconds)
    reason = f"dense: {best.kernel} would take {best.microseconds / dense.microseconds:.2f} times as long"
    return Choice(None, DENSE, candidates, reason, 1e3 * dense.microseconds)
