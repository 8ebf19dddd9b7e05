"""Pairs of blocks on Hopper's tensor cores: how products are cut up and launched."""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_int, c_void_p
from dataclasses import dataclass

from sparsec.cuda.code.program import function
from sparsec.cuda.device.driver import Device, TensorMap
from sparsec.cuda.device.memory import Memory
from sparsec.cuda.device.tensors import BFLOAT16
from sparsec.cuda.products.operands import Output, Results, Rows
from sparsec.cuda.streams.bsr_pairs import GROUPS, UNIT_BYTES, WIDTH, BlockPairs

AREA_BYTES = 8192  # of shared memory for a warpgroup's results on their way out
WIDEST, NARROWEST = 192, 64  # tokens of a tile: for more, three warpgroups have not enough registers
STAGES = 12  # at most, of which there are two bits for each in the kernel
SLOTS_OF_STAGE = 1.5  # pairs with a unit in a piece, for which there is room
BAND_BYTES = 16 << 20  # of X, that the L2 keeps
AROUND = 24  # tokens of a tile that take as long as what is around a tile


@dataclass(frozen=True, slots=True)
class PairTiling:
    """Of a product: tiles of so many tokens, pieces of X and places for pairs of units in shared memory; all rows are done
    for `together` tiles of tokens before the next ones."""

    tokens: int
    stages: int
    slots: int
    together: int

    @property
    def shared_bytes(self) -> int:
        """Of a block of threads: pieces with their barriers; units with zeros before, between and after them; results."""
        x_bytes = self.stages * (self.tokens * WIDTH * 2 + 16)
        return x_bytes + (3 * self.slots + 1) * UNIT_BYTES + GROUPS * AREA_BYTES


class _Operands(ctypes.Structure):
    _fields_ = (
        ("x", TensorMap),
        ("out", Output),
        *((name, c_void_p) for name in ("units", "pieces", "tiles")),
        *((name, c_int) for name in ("row_tiles", "token_tiles", "together")),
        ("padding", c_char * 20),  # to a multiple of 64 bytes
    )


class BsrPairsWgmma:
    """A block-sparse matrix W [m, k] of float16 or bfloat16 on one GPU."""

    def __init__(self, encoded: BlockPairs, dtype: str, on: Device) -> None:
        self.encoded = encoded
        self.dtype = dtype
        self.device = on
        self._memory = Memory(self, on)
        self._arrays = [self._memory.upload(each) for each in (encoded.units, encoded.pieces, encoded.tiles)]

    @property
    def shape(self) -> tuple[int, int]:
        return self.encoded.m, self.encoded.k

    def launch(self, x: Rows, y: Results, stream: int, tiling: PairTiling | None = None) -> None:
        """Put a product on a stream."""
        by = tiling or pair_tiling(self.encoded, x.tokens, self.device.multiprocessors, self.device.shared_bytes)
        row_tiles, token_tiles = len(self.encoded.tiles), -(-x.tokens // by.tokens)
        operands = _Operands(
            self.device.tensor_map(x.address, x.tokens, x.k, x.stride, (by.tokens, WIDTH)),
            y.output(x.tokens),
            *(each.address for each in self._arrays),
            *(row_tiles, token_tiles, min(by.together, token_tiles)),
        )
        macros = {"GROUPS": GROUPS, "TOKENS": by.tokens, "STAGES": by.stages, "SLOTS": by.slots}
        macros |= {"BF16": int(self.dtype == BFLOAT16), "ACTIVATION": y.activation}
        kernel = function(self.device, "bsr_pairs_wgmma", macros, by.shared_bytes)
        blocks = min(row_tiles * token_tiles, self.device.multiprocessors)
        self.device.launch(kernel, (blocks, 1), 128 * GROUPS + 32, operands, stream)


def pair_tiling(encoded: BlockPairs, tokens: int, workers: int, shared_bytes: int) -> PairTiling:
    """The tokens of a tile for which multiprocessors have the least to do, and what shared memory then has room for."""
    rows = len(encoded.tiles)

    def cost(width: int) -> tuple[int, int]:
        return -(-rows * -(-tokens // width) // workers) * (width + AROUND), -width

    width = min((each for each in range(NARROWEST, WIDEST + 1, 16)), key=cost)
    together = max(1, round(BAND_BYTES / (width * encoded.k * 2)))
    stages = STAGES
    while True:
        tiling = PairTiling(width, stages, max(GROUPS, int(stages * SLOTS_OF_STAGE)), together)
        if tiling.shared_bytes <= shared_bytes:
            return tiling
        stages -= 1
