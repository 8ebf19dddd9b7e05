"""`aten._embedding_bag` by operators that upstream lowers: it forgets the weights of samples, and has no maxima."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

aten = torch.ops.aten
SUM, MEAN, MAX = range(3)


def embedding_bag(
    weight: torch.Tensor,
    indices: torch.Tensor,
    offsets: torch.Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = SUM,
    sparse: bool = False,
    per_sample_weights: torch.Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The rows of `weight` [words, size] that `indices` [samples] name, reduced over bags, which begin at `offsets`: [bags, size].

    What a bag of nothing but `padding_idx` gets is zero. The other three results are for the gradient, and empty.
    """
    bags = offsets.shape[0] - include_last_offset
    bag = _bag_of_each(indices, offsets[:bags])
    rows = weight[indices]
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    counted = indices != padding_idx if padding_idx >= 0 else torch.ones_like(indices, dtype=torch.bool)
    nothing = -math.inf if mode == MAX else 0.0
    rows = torch.where(counted.unsqueeze(1), rows, torch.full((), nothing, dtype=rows.dtype))
    count = rows.new_zeros(bags).index_add(0, bag, counted.to(rows.dtype)).unsqueeze(1)
    shape = (bags, weight.shape[1])
    if mode == MAX:
        places = bag.unsqueeze(1).expand(rows.shape)
        greatest = rows.new_full(shape, nothing).scatter_reduce(0, places, rows, "amax")
        reduced = torch.where(count == 0, torch.zeros((), dtype=rows.dtype), greatest)
    else:
        reduced = rows.new_zeros(shape).index_add(0, bag, rows)
        reduced = reduced / count.clamp(min=1) if mode == MEAN else reduced
    empty = offsets.new_empty((0,))
    return reduced, empty, empty.clone(), empty.clone()


def _bag_of_each(indices: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """The bag of each sample: the last that begins no later."""
    places = torch.arange(indices.shape[0], dtype=offsets.dtype)
    return (places.unsqueeze(1) >= offsets).to(torch.int64).sum(1) - 1


BAGS: dict[torch._ops.OpOverload, Callable[..., object]] = {
    aten._embedding_bag.default: embedding_bag,
    aten._embedding_bag_forward_only.default: embedding_bag,
}
"""Their decompositions."""
