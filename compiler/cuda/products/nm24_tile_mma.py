"""2:4 streams for many tokens on GPUs without products of warpgroups: how a product is cut up.

A block of threads has 256 rows and 128 tokens; so the weight is read again for each 128 tokens, from the L2, where streams for
few tokens read it for each 64 and have no tiles of it that tokens share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sparsec.cuda.streams.nm24_byte_streams import Nm24ByteStreams
from sparsec.cuda.streams.nm24_streams import Nm24Streams

KERNEL = "nm24_tile_mma"
FEW = 64  # tokens, up to which a launch of streams reads the weight once
TOKENS, ROWS, THREADS = 128, 256, 256
MOST_STAGES = 4
_ROW_BYTES, _GROUPS = 128, ROWS // 32  # of X in a stage; groups of 32 rows


@dataclass(frozen=True, slots=True)
class StreamTiling:
    """Of a product: a grid of tiles, and so many stages of 128 bytes of X's rows and of W's steps in shared memory."""

    grid: tuple[int, int]
    stages: int
    shared_bytes: int

    @property
    def macros(self) -> Mapping[str, int]:
        """What the kernel is to be compiled with; a warp has sums of eight times eight tokens."""
        return {"TILES": 8, "STAGES": self.stages, "COLUMNS": 64}


def stream_tiling(streams: object, tokens: int, shared_bytes: int) -> StreamTiling | None:
    """How a product of so many tokens with these streams is cut up, or None where tiles are not for them."""
    if tokens <= FEW or not isinstance(streams, Nm24Streams | Nm24ByteStreams):
        return None
    stage = TOKENS * _ROW_BYTES + _GROUPS * streams.step_bytes
    stages = min(MOST_STAGES, shared_bytes // stage)
    return StreamTiling((-(-streams.m // ROWS), -(-tokens // TOKENS)), stages, stages * stage)
