"""Numbers of four bits, of which 128 neighbours in a row share a scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.streams.steps import Steps
from sparsec.errors import InputError

GROUP = 128  # columns of a warp's step, that share a scale
SMALLEST, LARGEST = -8, 7

Numbers = NDArray[np.int8]
Scales = NDArray[np.float32]


def quantize(weight: NDArray[np.float32]) -> tuple[Numbers, Scales]:
    """The nearest numbers from -7 to 7 of a matrix [m, k], and the scales, the largest of each group over 7; zeros stay."""
    m, k = weight.shape
    groups = np.pad(weight, ((0, 0), (0, -k % GROUP))).reshape(m, -1, GROUP)
    scales = np.abs(groups).max(axis=2) / np.float32(LARGEST)
    numbers = np.rint(groups / np.where(scales == 0, 1, scales)[:, :, None]).astype(np.int8)
    return numbers.reshape(m, -1)[:, :k], scales


def dequantize(numbers: Numbers, scales: Scales) -> NDArray[np.float32]:
    """The matrix that products are with."""
    made: NDArray[np.float32] = numbers * np.repeat(scales, GROUP, axis=1)[:, : numbers.shape[1]]
    return made


def check(numbers: Numbers, scales: Scales) -> None:
    """Raise `InputError` unless these are a matrix of four bits and its scales."""
    if numbers.ndim != 2 or not numbers.size or numbers.dtype != np.int8:
        raise InputError(
            "These are not numbers of four bits.", expected="int8 [m, k]", got=f"{numbers.dtype}{list(numbers.shape)}"
        )
    m, groups = len(numbers), -(-numbers.shape[1] // GROUP)
    fits = scales.shape == (m, groups) and scales.dtype == np.float32
    if not fits or numbers.min() < SMALLEST or numbers.max() > LARGEST:
        raise InputError(
            "These are not numbers of four bits and their scales.",
            expected=f"numbers from {SMALLEST} to {LARGEST}, scales float32[{m}, {groups}]",
            got=f"numbers from {numbers.min()} to {numbers.max()}, scales {scales.dtype}{list(scales.shape)}",
        )


def whole(streams: Steps, parts: Sequence[Sequence[tuple[Numbers, Scales]]]) -> tuple[Numbers, Scales]:
    """The numbers [m, k] and scales [m, groups] of a matrix from those of each worker's parts: rows of a block and columns of its
    steps, and scales of these."""
    partition = streams.partition
    numbers = np.empty((streams.m, streams.k), np.int8)
    scales = np.empty((streams.m, -(-streams.k // GROUP)), np.float32)
    partition.whole(numbers, streams.step, lambda worker: [each for each, _ in parts[worker]])
    partition.whole(scales, partition.halves, lambda worker: [each for _, each in parts[worker]])
    return numbers, scales
