"""Which linear layers of a torch network are worth a sparse kernel on their GPU, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sparsec.cuda.products import nm24_wgmma
from sparsec.cuda.products.device_cost import CERTAIN, Kernel, Processor, dense_microseconds, sparse_microseconds
from sparsec.cuda.products.sparse_weight import FEW
from sparsec.cuda.products.weights import Pattern, fastest

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
    nnz = int(torch.count_nonzero(weight))
    zeros = 1 - nnz / max(1, weight.numel())
    if on is None:
        return Choice(name, m, k, zeros, None, 0.0, 0.0, "its weight is not on an NVIDIA GPU")
    if weight.dtype not in _TYPES:
        return Choice(
            name, m, k, zeros, None, 0.0, 0.0, f"its type is {str(weight.dtype)[6:]}, not float16 or bfloat16"
        )
    if not weight.numel():
        return Choice(name, m, k, zeros, None, 0.0, 0.0, "it has no weights")
    dense = sum(dense_microseconds(m, k, each, on) for each in tokens)
    unstructured: Kernel = fastest(m, k, nnz, tokens, on)
    times: list[tuple[float, Pattern, str]] = [
        (sum(sparse_microseconds(unstructured, m, k, nnz, each, on) for each in tokens), "unstructured", unstructured)
    ]
    if two_of_four(weight):
        many = any(_warpgroups(each, on) for each in tokens)
        times.append(
            (sum(_nm24_microseconds(m, k, each, on) for each in tokens), "2:4", "nm24_wgmma" if many else "nm24_mma")
        )
    sparse, pattern, kernel = min(times)
    if sparse < CERTAIN * dense:
        return Choice(name, m, k, zeros, pattern, dense, sparse, kernel)
    return Choice(name, m, k, zeros, None, dense, sparse, f"{kernel} would not be a tenth faster")


def _nm24_microseconds(m: int, k: int, tokens: int, on: Processor) -> float:
    """Of one product of a 2:4 weight [m, k], with the kernel for so many tokens."""
    if _warpgroups(tokens, on):
        return nm24_wgmma.microseconds(tokens, m, k, on.multiprocessors)
    return sparse_microseconds("nm24_mma", m, k, m * k // 2, tokens, on)


def _warpgroups(tokens: int, on: Processor) -> bool:
    return tokens > FEW and on.architecture == nm24_wgmma.ARCHITECTURE


def two_of_four(weight: torch.Tensor) -> bool:
    """Whether each four neighbouring k have at most two nonzeros."""
    m, k = weight.shape
    whole = torch.nn.functional.pad(weight != 0, (0, -k % 4)).view(m, -1, 4)
    return bool((whole.sum(dim=2) <= 2).all())
