"""Steps of one size are put in a line for warps, and found again."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsec.cuda.streams.equal_steps import UNIT, encode, segments
from sparsec.cuda.streams.partition import WARPS, deal

STEP_BYTES = 2 * UNIT


@pytest.mark.parametrize(("blocks", "steps", "workers"), [(1, 1, 1), (3, 5, 4), (2, 7, 30)])
def test_segments_come_back(blocks: int, steps: int, workers: int) -> None:
    given = np.random.default_rng(steps).integers(0, 256, (blocks, WARPS, steps, STEP_BYTES)).astype(np.uint8)

    def segment(block: int, first: int, last: int) -> NDArray[np.uint8]:
        return given[block, :, first:last]

    partition = deal(np.ones((blocks, steps)), workers, 1)
    units = encode(partition, segment)
    assert units.shape == (given.size // UNIT, UNIT)
    found = np.zeros_like(given)
    for worker in range(partition.workers):
        parts = segments(partition, units, STEP_BYTES, worker)
        for (block, first, last), part in zip(partition.parts(worker), parts, strict=True):
            found[block, :, first:last] = part
    assert np.array_equal(found, given)
