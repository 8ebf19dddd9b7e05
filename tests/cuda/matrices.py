"""Matrices of 16-bit floating-point numbers, as bits, for the tests of GPU formats and kernels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unstructured(m: int, k: int, density: float, seed: int) -> NDArray[np.uint16]:
    """Any bits but those of zeros, so infinities and NaN too, at random places."""
    generator = np.random.default_rng(seed)
    bits = generator.integers(1, 1 << 15, (m, k)) | generator.integers(0, 2, (m, k)) << 15
    return np.where(generator.random((m, k)) < density, bits, 0).astype(np.uint16)


def two_of_four(m: int, k: int, seed: int) -> NDArray[np.uint16]:
    """Two of each four at random places, some of them zero."""
    generator = np.random.default_rng(seed)
    groups = -(-k // 4)
    kept = generator.random((m, groups, 4)).argsort(axis=2) < 2
    kept &= generator.random(kept.shape) < 0.9
    bits = generator.integers(1, 1 << 15, kept.shape)
    return np.where(kept, bits, 0).astype(np.uint16).reshape(m, -1)[:, :k]


def quantized(m: int, k: int, seed: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Numbers of four bits, two of each four at random places, some of them zero; scales for 128 columns."""
    generator = np.random.default_rng(seed)
    numbers = np.where(two_of_four(m, k, seed), generator.integers(-8, 8, (m, k)), 0).astype(np.int8)
    return numbers, generator.random((m, -(-k // 128)), dtype=np.float32) + np.float32(0.5)


def blocks(m: int, k: int, side: int, density: float, seed: int) -> NDArray[np.uint16]:
    """Any bits but those of zeros in blocks at random places, of which those at the ends are cut off."""
    generator = np.random.default_rng(seed)
    kept = generator.random((-(-m // side), -(-k // side))) < density
    return unstructured(m, k, 1.0, seed) * np.kron(kept, np.ones((side, side), dtype=np.uint16))[:m, :k]


def groups_of_four_bits(m: int, k: int, density: float, seed: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Numbers of four bits in groups of 16 columns at random places, some of them zero; scales for 128 columns."""
    generator = np.random.default_rng(seed)
    kept = np.repeat(generator.random((m, -(-k // 16))) < density, 16, axis=1)[:, :k]
    numbers = np.where(kept, generator.integers(-8, 8, (m, k)), 0).astype(np.int8)
    return numbers, generator.random((m, -(-k // 128)), dtype=np.float32) + np.float32(0.5)
