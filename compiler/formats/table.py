"""All weight formats, by name. To add one: write its file, add its row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sparsec.formats.bitmap import Bitmap
from sparsec.formats.blocked import Blocked
from sparsec.formats.coo import Coo
from sparsec.formats.csr import Csr
from sparsec.formats.dense import Panels
from sparsec.formats.facts import facts_of
from sparsec.formats.nm import NofM
from sparsec.formats.split import Split

Weight = NDArray[np.generic] | Coo


class Encoded(Protocol):
    """A weight in some format, seen as a matrix [first dimension, the rest] of float32."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""

    def decode(self) -> NDArray[np.float32]:
        """The dense tensor."""

    def at(self, row: int, column: int) -> float:
        """One element of the matrix."""


@dataclass(frozen=True, slots=True)
class Format:
    """`encode` takes a weight of rank >= 1 and raises `ValueError` if the weight does not have the format's pattern."""

    name: str
    encode: Callable[[Weight], Encoded]


def _blocked(weight: Weight) -> Blocked:
    return Blocked.encode(weight, facts_of(weight).block or (4, 1))


def _nm(weight: Weight) -> NofM:
    group = facts_of(weight).group
    if group is None:
        raise ValueError("the weight keeps no n:m pattern")
    return NofM.encode(weight, *group)


_ALL = (
    Format("dense", Panels.encode),
    Format("csr", Csr.encode),
    Format("blocked", _blocked),
    Format("nm", _nm),
    Format("bitmap", Bitmap.encode),
    Format("split", Split.encode),
)

FORMATS: Mapping[str, Format] = {row.name: row for row in _ALL}
