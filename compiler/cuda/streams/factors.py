"""What is multiplied on sparse tensor cores: elements of 16 bits, or of eight with scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.device.tensors import BFLOAT16, FLOAT8, FLOAT16, INT8

# By which kernels know a type of factors.
_KINDS: Mapping[str, int] = {FLOAT16: 0, BFLOAT16: 0, INT8: 1, FLOAT8: 2}


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """The type of the elements of W and X, and the scales of W's rows, float32 [m], of elements of eight bits."""

    dtype: str
    scales: NDArray[np.float32] | None = None

    @property
    def kind(self) -> int:
        """For kernels: 0 for 16 bits, 1 for int8, 2 for float8."""
        return _KINDS[self.dtype]

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return 1 if self.kind else 2
