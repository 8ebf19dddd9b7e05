"""2:4 tiles: a matrix with at most two nonzeros in each group of four, as Hopper's `wgmma.mma_async.sp` takes it.

A block is 64 rows x 64 columns, 4608 bytes, copied to shared memory as it is:

* values, 64 rows of 64 bytes: the two of each group of four. Of a row r, the 16 bytes c lie at c ^ (r / 2 % 4), which is
  the 64-byte swizzle of the instruction's matrix descriptors;
* indices, a word for each of the 128 threads: of warp w, g = lane / 4, t = lane % 4 the groups 4 t .. 4 t + 3 of rows
  16 w + g (low half) and 16 w + g + 8, four bits a group. Lanes t = 0, 1 have the first 32 columns, 2 and 3 the others,
  which is the instruction's sparsity selector.

Bytes per element: 9/8; rows and columns are filled up with zeros to multiples of 64.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda import two_of_four

ROWS = 64  # of a block
STEP = 64  # columns of a block
VALUE_BYTES = ROWS * STEP
BLOCK_BYTES = VALUE_BYTES + ROWS * STEP // 8

_SWIZZLED = np.arange(4) ^ np.arange(ROWS)[:, None] // 2 % 4  # where the 16 bytes of a row lie; its own inverse

Bits = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Nm24Tiles:
    """A matrix [m, k] of 16-bit floating-point numbers, kept as bits; `blocks` is uint8 [row blocks, steps, 4608]."""

    m: int
    k: int
    blocks: NDArray[np.uint8]

    @classmethod
    def encode(cls, weight: Bits) -> Nm24Tiles:
        """Encode the bits of a matrix [m, k]; raises `ModelError`."""
        m, k = weight.shape
        blocks = np.empty((-(-m // ROWS), -(-k // STEP), BLOCK_BYTES), dtype=np.uint8)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda each: _encode(weight, each, blocks[each]), range(len(blocks))))
        return cls(m, k, blocks)

    def decode(self) -> Bits:
        """The matrix, from what the threads of a warpgroup and the descriptors say."""
        return np.concatenate([_decode(each) for each in self.blocks])[: self.m, : self.k]

    @property
    def steps(self) -> int:
        """Blocks in a row."""
        return -(-self.k // STEP)

    @property
    def nbytes(self) -> int:
        """Bytes that a product reads."""
        return self.blocks.nbytes


def _encode(weight: Bits, block: int, out: NDArray[np.uint8]) -> None:
    m, k = weight.shape
    piece = np.zeros((ROWS, len(out) * STEP), dtype=np.uint16)
    piece[: min(m - block * ROWS, ROWS), :k] = weight[block * ROWS : (block + 1) * ROWS]
    values, index = two_of_four.pairs(piece, block * ROWS, 0)
    chunks = values.reshape(ROWS, len(out), 4, 8).transpose(1, 0, 2, 3)
    chunks = np.take_along_axis(chunks, _SWIZZLED[None, :, :, None], axis=2)
    out[:, :VALUE_BYTES] = np.ascontiguousarray(chunks).view(np.uint8).reshape(len(out), -1)
    shifted = index.reshape(ROWS, len(out), 4, 4).astype(np.uint32) << 4 * np.arange(4, dtype=np.uint32)
    halves = shifted.sum(axis=3, dtype=np.uint32).reshape(4, 2, 8, len(out), 4)  # warp, h, g, step, t
    words = (halves[:, 0] | halves[:, 1] << 16).transpose(2, 0, 1, 3)
    out[:, VALUE_BYTES:] = np.ascontiguousarray(words).view(np.uint8).reshape(len(out), -1)


def _decode(blocks: NDArray[np.uint8]) -> Bits:
    count = len(blocks)
    chunks = np.ascontiguousarray(blocks[:, :VALUE_BYTES]).view(np.uint16).reshape(count, ROWS, 4, 8)
    chunks = np.take_along_axis(chunks, _SWIZZLED[None, :, :, None], axis=2)
    values = chunks.transpose(1, 0, 2, 3).reshape(ROWS, -1, 2)
    words = np.ascontiguousarray(blocks[:, VALUE_BYTES:]).view(np.uint32).reshape(count, 4, 8, 4)
    halves = np.stack([words & 0xFFFF, words >> 16], axis=2)  # step, warp, h, g, t
    index = halves[..., None] >> 4 * np.arange(4, dtype=np.uint32) & 15
    index = index.transpose(1, 2, 3, 0, 4, 5).reshape(ROWS, -1)
    return two_of_four.matrix(values, index.astype(np.uint16))
