"""Which linear layers of a torch network are worth a sparse kernel on their GPU, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sparsec.cuda.products.device_cost import CERTAIN, Processor
from sparsec.cuda.products.ways import dense_apart, ways
from sparsec.cuda.products.weights import Pattern
from sparsec.cuda.streams.zeros import SQUARE, UNIT, Zeros

_TYPES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Choice:
    """Of one layer [m, k]: a pattern, or None to stay dense; predicted times in microseconds, of all counts of tokens."""

    name: str
    m: int
    k: int
    zeros: float
    pattern: Pattern | None
    dense: float
    sparse: float
    reason: str


def choose(name: str, weight: torch.Tensor, tokens: Sequence[int], on: Processor | None) -> Choice:
    """Decide on a layer's weight [m, k] for products with these counts of tokens; `on` is its GPU, if it is on one."""
    m, k = weight.shape
    refusal = _refusal(weight, on)
    if refusal is not None or on is None:
        return Choice(name, m, k, _share(weight), None, 0.0, 0.0, refusal or "")
    zeros = zeros_of(weight)
    found = [ways(zeros, each, on) for each in tokens]
    parts = [dense_apart(each) for each in found]
    dense = sum(way.microseconds for way, _ in parts)
    best = [each[0] for each in found]
    sparse = sum(way.microseconds for way in best)
    kernels = ", ".join(dict.fromkeys(way.kernel for way in best))
    if sparse < CERTAIN * dense:
        pattern = next(way.pattern for way in best if way.kernel != "dense")
        return Choice(name, m, k, zeros.share, pattern, dense, sparse, kernels)
    others = [way for _, sparse_ways in parts for way in sparse_ways]
    if not others:
        return Choice(name, m, k, zeros.share, None, dense, dense, "too few zeros")
    nearest = min(others, key=lambda way: way.microseconds)
    return Choice(name, m, k, zeros.share, None, dense, sparse, f"{nearest.kernel} would not be a tenth faster")


def zeros_of(weight: torch.Tensor) -> Zeros:
    """Of a matrix [m, k] of torch's, where it is."""
    m, k = weight.shape
    kept = torch.nn.functional.pad(weight != 0, (0, -k % SQUARE, 0, -m % SQUARE))
    units = kept.view(len(kept) // UNIT, UNIT, -1, UNIT).any(dim=3).any(dim=1)
    squares = units.view(len(units) // 2, 2, -1, 2).any(dim=3).any(dim=1)
    two_of_four = bool((kept.view(len(kept), -1, 4).sum(dim=2) <= 2).all())
    counts = (int(each.sum()) for each in (units, squares))
    return Zeros(m, k, int(torch.count_nonzero(weight)), two_of_four, *counts)


def _refusal(weight: torch.Tensor, on: Processor | None) -> str | None:
    """Why a weight stays as it is, whatever its zeros."""
    if on is None:
        return "its weight is not on an NVIDIA GPU"
    if weight.dtype not in _TYPES:
        return f"its type is {str(weight.dtype)[6:]}, not float16 or bfloat16"
    return None if weight.numel() else "it has no weights"


def _share(weight: torch.Tensor) -> float:
    return 1 - int(torch.count_nonzero(weight)) / max(1, weight.numel())
