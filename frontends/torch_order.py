"""Operators of torch about order (medians, running extremes, histograms, maxima of uneven windows) by those that upstream lowers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch

aten = torch.ops.aten
Pair = tuple[torch.Tensor, torch.Tensor]
Beats = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def running(beats: Beats) -> Callable[[torch.Tensor, int], Pair]:
    """`aten.cummax` and `aten.cummin`: the extreme so far and its place, which is the last of equals; what is no number wins.

    Hillis and Steele's scan: after each of log2(n) steps, an element is the extreme of twice as many.
    """

    def decomposed(x: torch.Tensor, axis: int) -> Pair:
        places = torch.arange(x.shape[axis] if x.dim() else 1)
        places = places.reshape([-1 if n == axis % x.dim() else 1 for n in range(x.dim())]).expand(x.shape)
        size, step = places.shape[axis] if x.dim() else 1, 1
        while step < size:
            early, late = x.narrow(axis, 0, size - step), x.narrow(axis, step, size - step)
            kept = beats(late, early) | (late == early) | (late != late)
            first, second = places.narrow(axis, 0, size - step), places.narrow(axis, step, size - step)
            x = torch.cat([x.narrow(axis, 0, step), torch.where(kept, late, early)], axis)
            places = torch.cat([places.narrow(axis, 0, step), torch.where(kept, second, first)], axis)
            step *= 2
        return x.clone(), places.clone()

    return decomposed


def median_along(x: torch.Tensor, axis: int = -1, keepdim: bool = False) -> Pair:
    """`aten.median.dim`: the lower one of two in the middle; what is no number, if there is any."""
    if not x.dim():
        return x.clone(), torch.zeros((), dtype=torch.int64)
    values, places = torch.sort(x, dim=axis)
    size = x.shape[axis]
    middle = torch.full((), (size - 1) // 2, dtype=torch.int64)
    if x.dtype.is_floating_point:  # which are sorted to the end
        none = (x != x).any(axis, keepdim=True)
        middle = torch.where(none, (x == x).to(torch.int64).sum(axis, keepdim=True), middle)
    else:
        middle = middle.expand([1 if n == axis % x.dim() else each for n, each in enumerate(x.shape)])
    found = values.gather(axis, middle), places.gather(axis, middle)
    return found if keepdim else (found[0].squeeze(axis), found[1].squeeze(axis))


def median(x: torch.Tensor) -> torch.Tensor:
    """`aten.median`, of all elements."""
    return median_along(x.reshape(-1), 0)[0]


def histc(x: torch.Tensor, bins: int = 100, low: float = 0, high: float = 0) -> torch.Tensor:
    """`aten.histc`: how many elements lie in each of the equal parts from `low` to `high`, or without these of the whole range."""
    flat = x.reshape(-1)
    least, greatest = torch.full((), low, dtype=x.dtype), torch.full((), high, dtype=x.dtype)
    if low == high:
        least, greatest = flat.amin(), flat.amax()
        alone = least == greatest
        least, greatest = torch.where(alone, least - 1, least), torch.where(alone, greatest + 1, greatest)
    inside = (flat >= least) & (flat <= greatest)
    share = (torch.where(inside, flat, least) - least) * bins / (greatest - least)
    places = torch.clamp(share.to(torch.int64), max=bins - 1)
    return x.new_zeros(bins).index_add(0, places, inside.to(x.dtype))


def adaptive_max_pool(x: torch.Tensor, sizes: Sequence[int]) -> Pair:
    """`aten.adaptive_max_pool2d` and `3d`: the extremes of windows that differ by an element, and their places in a plane.

    Windows that are alike stay one pool. Window number i of n along an axis of size s begins at floor(i s / n), and ends at
    ceil((i + 1) s / n).
    """
    rank = len(sizes)
    spatial = x.shape[-rank:]
    if all(size % count == 0 for size, count in zip(spatial, sizes, strict=True)):
        return NotImplemented  # type: ignore[no-any-return]  # the operator stays
    edges = [[(i * s // n, -(-(i + 1) * s // n)) for i in range(n)] for s, n in zip(spatial, sizes, strict=True)]
    plane = torch.arange(spatial.numel()).reshape(spatial)
    values, places = [], []
    for window in itertools.product(*edges):
        part, where = x, plane
        for axis, (begin, end) in enumerate(window):
            part = part.narrow(axis - rank, begin, end - begin)
            where = where.narrow(axis, begin, end - begin)
        value, place = part.flatten(-rank).max(-1)
        values.append(value)
        places.append(where.reshape(-1)[place])
    shape = (*x.shape[:-rank], *sizes)
    return torch.stack(values, -1).reshape(shape), torch.stack(places, -1).reshape(shape)


ORDER: dict[torch._ops.OpOverload, Callable[..., object]] = {
    aten.adaptive_max_pool2d.default: adaptive_max_pool,
    aten.adaptive_max_pool3d.default: adaptive_max_pool,
    aten.cummax.default: running(torch.gt),
    aten.cummin.default: running(torch.lt),
    aten.histc.default: histc,
    aten.median.default: median,
    aten.median.dim: median_along,
}
"""Their decompositions."""
