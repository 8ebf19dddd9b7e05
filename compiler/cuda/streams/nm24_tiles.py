"""2:4 tiles: a matrix with at most two nonzeros in each group of four, as Hopper's `wgmma.mma_async.sp` takes it.

A block is 64 rows x 128 bytes of a row of X: 64 columns of 16 bits or 128 of eight. It is copied to shared memory as it is:

* values, 64 rows of 64 bytes: the two of each group of four. Of a row r, the 16 bytes c lie at c ^ (r / 2 % 4), which is
  the 64-byte swizzle of the instruction's matrix descriptors;
* indices of 16-bit values, a word for each of the 128 threads: of warp w, g = lane / 4, t = lane % 4 the groups 4 t .. 4 t + 3
  of rows 16 w + g (low half) and 16 w + g + 8, four bits a group. Lanes t = 0, 1 have the first 32 columns, 2 and 3 the
  others, which is the instruction's sparsity selector;
* indices of 8-bit values, for each 64 columns a word for each thread: of row 16 w + g + 8 (t % 2) the groups 8 (t / 2) and on.

Bytes per element: 9/8 or 5/8; rows and columns are filled up with zeros to whole blocks.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.streams import two_of_four
from sparsec.cuda.streams.nm24_byte_streams import index_of, index_words

ROWS = 64  # of a block
ROW_BYTES = 128  # of X, that a block's row is multiplied by
VALUE_BYTES = ROWS * ROW_BYTES // 2

_SWIZZLED = (np.arange(4) ^ np.arange(ROWS)[:, None] // 2 % 4)[None, :, :, None]  # of 16 bytes; its own inverse

Bits = NDArray[np.uint16] | NDArray[np.uint8]
Bytes = NDArray[np.uint8]


def block_bytes(size: int) -> int:
    """Of a block of values of so many bytes."""
    return VALUE_BYTES + ROWS * ROW_BYTES // size // 8


@dataclass(frozen=True, slots=True)
class Nm24Tiles:
    """A matrix [m, k] of numbers of `size` bytes, kept as bits; `blocks` is uint8 [row blocks, steps, bytes of a block]."""

    m: int
    k: int
    size: int
    blocks: Bytes

    @classmethod
    def encode(cls, weight: Bits) -> Nm24Tiles:
        """Encode the bits of a matrix [m, k], as `two_of_four.pairs` takes them; raises `ModelError`."""
        m, k = weight.shape
        size = weight.itemsize
        blocks = np.empty((-(-m // ROWS), -(-k * size // ROW_BYTES), block_bytes(size)), dtype=np.uint8)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda each: _encode(weight, each, blocks[each]), range(len(blocks))))
        return cls(m, k, size, blocks)

    def decode(self) -> Bits:
        """The matrix, from what the threads of a warpgroup and the descriptors say."""
        return np.concatenate([_decode(each, self.size) for each in self.blocks])[: self.m, : self.k]

    @property
    def steps(self) -> int:
        """Blocks in a row."""
        count: int = self.blocks.shape[1]
        return count

    @property
    def nbytes(self) -> int:
        """Bytes that a product reads."""
        return self.blocks.nbytes


def _encode(weight: Bits, block: int, out: Bytes) -> None:
    m, k = weight.shape
    count, size = len(out), weight.itemsize
    piece = np.zeros((ROWS, count * ROW_BYTES // size), dtype=weight.dtype)
    piece[: min(m - block * ROWS, ROWS), :k] = weight[block * ROWS : (block + 1) * ROWS]
    values, index = two_of_four.pairs(piece, block * ROWS, 0)
    chunks = values.reshape(ROWS, -1).view(np.uint8).reshape(ROWS, count, 4, 16).transpose(1, 0, 2, 3)
    out[:, :VALUE_BYTES] = np.take_along_axis(chunks, _SWIZZLED, axis=2).reshape(count, -1)
    words = _words(index, count) if size == 2 else _byte_words(index, count)
    out[:, VALUE_BYTES:] = np.ascontiguousarray(words).view(np.uint8).reshape(count, -1)


def _words(index: NDArray[np.uint16], count: int) -> NDArray[np.uint32]:
    """Of 16-bit values: [step, warp, g, t]."""
    shifted = index.reshape(ROWS, count, 4, 4).astype(np.uint32) << 4 * np.arange(4, dtype=np.uint32)
    halves = shifted.sum(axis=3, dtype=np.uint32).reshape(4, 2, 8, count, 4)  # warp, h, g, step, t
    words: NDArray[np.uint32] = (halves[:, 0] | halves[:, 1] << 16).transpose(2, 0, 1, 3)
    return words


def _byte_words(index: NDArray[np.uint16], count: int) -> NDArray[np.uint32]:
    """Of 8-bit values: [step, 64 columns, warp, g, 32 of the columns, h]."""
    return index_words(index).reshape(4, 2, 8, count, 2, 2).transpose(3, 4, 0, 2, 5, 1)


def _decode(blocks: Bytes, size: int) -> Bits:
    count = len(blocks)
    chunks = np.take_along_axis(blocks[:, :VALUE_BYTES].reshape(count, ROWS, 4, 16), _SWIZZLED, axis=2)
    rows = np.ascontiguousarray(chunks.transpose(1, 0, 2, 3)).reshape(ROWS, -1)
    words = np.ascontiguousarray(blocks[:, VALUE_BYTES:]).view(np.uint32)
    if size == 1:
        index = index_of(words.reshape(count, 2, 4, 8, 2, 2).transpose(2, 5, 3, 0, 1, 4).reshape(ROWS, -1))
        return two_of_four.matrix(rows.reshape(*index.shape, 2), index)
    halves = words.reshape(count, 4, 8, 4)
    both = np.stack([halves & 0xFFFF, halves >> 16], axis=2)  # step, warp, h, g, t
    shifted = both[..., None] >> 4 * np.arange(4, dtype=np.uint32) & 15
    index = shifted.transpose(1, 2, 3, 0, 4, 5).reshape(ROWS, -1).astype(np.uint16)
    return two_of_four.matrix(rows.view(np.uint16).reshape(*index.shape, 2), index)
