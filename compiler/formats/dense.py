"""Dense weights as panels: the order in which a dense kernel reads them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def pack_panels(matrix: NDArray[np.float32], starts: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
    """Pack `matrix` [outputs, k] as consecutive panels [k][width], panel i holding outputs [starts[i], starts[i + 1]).

    Flat; outputs from len(matrix) up to starts[-1] are zeros.
    """
    outputs, depth = matrix.shape
    packed = np.zeros(starts[-1] * depth, dtype=np.float32)
    for begin, end in pairwise(starts):
        panel = packed[begin * depth : end * depth].reshape(depth, end - begin)
        panel[:, : max(min(end, outputs) - begin, 0)] = matrix[begin:end].T
    return packed


def unpack_panels(
    packed: NDArray[np.float32], outputs: int, starts: Sequence[int] | NDArray[np.integer]
) -> NDArray[np.float32]:
    """The inverse of `pack_panels`: [outputs, k]."""
    depth = packed.size // starts[-1] if starts[-1] else 0
    panels = [packed[begin * depth : end * depth].reshape(depth, end - begin).T for begin, end in pairwise(starts)]
    return np.concatenate([*panels, np.zeros((0, depth), dtype=np.float32)])[:outputs]
