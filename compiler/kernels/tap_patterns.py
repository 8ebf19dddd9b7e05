"""Patterns of zeros among the taps of a depthwise convolution's channels, of which the commonest get loops of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_PATTERNS = 8  # that get loops of their own
LEAST_SAVED = 0.01  # of a layer's products, by such a loop


@dataclass(frozen=True, slots=True)
class Run:
    """`channels` whose nonzeros all belong to `taps`, from place `first` of the order of channels on."""

    taps: tuple[int, ...]
    first: int
    channels: int


@dataclass(frozen=True, slots=True)
class Patterns:
    """Channels in an `order` in which those that share a loop stand behind each other."""

    runs: tuple[Run, ...]
    order: NDArray[np.int32]

    @classmethod
    def of(cls, masks: NDArray[np.bool_]) -> Patterns:
        """Of the nonzeros [channels, taps]: the patterns that save most, none at all, and all taps for the rest."""
        count = masks.shape[1]
        found, inverse, channels = np.unique(masks, axis=0, return_inverse=True, return_counts=True)
        saved = channels * (count - found.sum(axis=1))
        worth = [n for n in np.argsort(-saved, kind="stable") if saved[n] >= max(LEAST_SAVED * masks.size, 1)]
        everything = np.ones((1, count), dtype=np.bool_)
        kept = np.concatenate([found[worth[:MOST_PATTERNS]], found[~found.any(axis=1)], everything])
        covers = ~(found[:, None, :] & ~kept[None, :, :]).any(axis=2)
        which = np.where(covers, kept.sum(axis=1), count + 1).argmin(axis=1)[inverse.reshape(-1)]
        order = np.argsort(which, kind="stable").astype(np.int32)
        used, first, lengths = np.unique(which[order], return_index=True, return_counts=True)
        runs = (
            Run(tuple(np.flatnonzero(kept[n]).tolist()), int(begin), int(length))
            for n, begin, length in zip(used, first, lengths, strict=True)
        )
        return cls(tuple(runs), order)

    @property
    def taps(self) -> int:
        """Taps that are computed, of all channels."""
        return sum(len(run.taps) * run.channels for run in self.runs)

    @property
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What the kernel reads of this."""
        return {"order": self.order} if len(self.runs) > 1 else {}
