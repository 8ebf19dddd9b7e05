"""Scatters of torch in forms that upstream lowers right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

aten = torch.ops.aten


def from_the_front(operator: torch._ops.OpOverload) -> Callable[..., object]:
    """The operator along an axis that is counted from the first: upstream ends the process on one from the last."""

    def decomposed(x: torch.Tensor, axis: int, *args: object, **kwargs: object) -> object:
        return operator(x, axis + x.dim(), *args, **kwargs) if axis < 0 < x.dim() else NotImplemented

    return decomposed


def scatter_reduce(
    x: torch.Tensor, axis: int, index: torch.Tensor, source: torch.Tensor, word: str, *, include_self: bool = True
) -> object:
    """`aten.scatter_reduce`. Where elements of `x` do not count, they are neutral before; a mean is a sum, divided.

    Upstream divides sums of integers as floats, and starts from elements of `x` that do not count.
    """
    if include_self and word != "mean":
        return from_the_front(aten.scatter_reduce.two)(x, axis, index, source, word)
    axis %= max(x.dim(), 1)
    met = torch.zeros_like(x).scatter_add(axis, index, torch.ones_like(source))
    start = x if include_self else torch.where(met > 0, _neutral(x.dtype, word), x)
    if word != "mean":
        return aten.scatter_reduce.two(start, axis, index, source, word)
    total = start.scatter_add(axis, index, source)
    count = (met + int(include_self)).clamp(min=1)
    return total / count if x.dtype.is_floating_point else torch.div(total, count, rounding_mode="floor")


def _neutral(dtype: torch.dtype, word: str) -> torch.Tensor:
    """What a reduction of this name may start from."""
    if word in ("sum", "mean", "prod"):
        return torch.full((), int(word == "prod"), dtype=dtype)
    if dtype.is_floating_point:
        return torch.full((), math.inf if word == "amin" else -math.inf, dtype=dtype)
    bounds = torch.iinfo(dtype)
    return torch.full((), bounds.max if word == "amin" else bounds.min, dtype=dtype)


def index_put(
    x: torch.Tensor, indices: Sequence[torch.Tensor | None], values: torch.Tensor, accumulate: bool = False
) -> torch.Tensor:
    """`aten.index_put` of one number where a mask of the first axes says; upstream counts how many places these are."""
    (mask,) = indices if len(indices) == 1 else (None,)
    if mask is None or mask.dtype != torch.bool or values.numel() != 1:
        return NotImplemented  # type: ignore[no-any-return]  # the operator stays
    number = values.reshape(()).to(x.dtype)
    return torch.where(
        mask.reshape(*mask.shape, *[1] * (x.dim() - mask.dim())), x + number if accumulate else number, x
    )


SCATTERED: dict[torch._ops.OpOverload, Callable[..., object]] = {
    **{
        operator: from_the_front(operator)
        for operator in (
            aten.scatter.src,
            aten.scatter.value,
            aten.scatter.reduce,
            aten.scatter.value_reduce,
            aten.scatter_add.default,
        )
    },
    aten.index_put.default: index_put,
    aten.scatter_reduce.two: scatter_reduce,
}
"""Their decompositions."""
