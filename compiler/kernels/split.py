"""Things dealt to parts of nearly equal length, such as vectors to tiles: all parts but the longer ones are alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparsec.kernels.emit import choose
from sparsec.kernels.index import Index, minimum, pick


@dataclass(frozen=True, slots=True)
class Split:
    """`total` things in `parts` runs of nearly equal length: the first `longer` have `low + 1`, the rest `low`."""

    total: int
    parts: int

    @classmethod
    def by(cls, total: int, most: int) -> Split:
        """The fewest parts of at most `most` things."""
        return cls(total, -(-total // most))

    @property
    def low(self) -> int:
        return self.total // max(self.parts, 1)

    @property
    def longer(self) -> int:
        return self.total - self.low * self.parts

    @property
    def most(self) -> int:
        """The longest length."""
        return self.low + bool(self.longer)

    @property
    def starts(self) -> np.ndarray:
        """Where each part begins, and the total at the end."""
        return np.array([part * self.low + min(part, self.longer) for part in range(self.parts + 1)])

    def start(self, part: Index) -> Index:
        """Where `part` begins."""
        if not self.longer:
            return part * self.low
        return part * self.low + minimum(part, self.longer)

    def length(self, part: Index) -> Index:
        """How long `part` is."""
        return pick(part < self.longer, self.low + 1, self.low) if self.longer else Index(self.low)

    def each_length(self, part: Index, body: Callable[[int], None]) -> None:
        """Build `body(length)` for each length that occurs, run for the length of `part`."""
        if not self.longer:
            body(self.low)
        else:
            choose(part < self.longer, lambda: body(self.low + 1), lambda: body(self.low))
