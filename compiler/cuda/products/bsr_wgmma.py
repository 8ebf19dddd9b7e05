"""Block-sparse weights on Hopper's tensor cores: how products are cut up and launched."""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_int, c_void_p
from dataclasses import dataclass

from sparsec.cuda.code.program import function
from sparsec.cuda.device.driver import Device, TensorMap
from sparsec.cuda.device.memory import Memory
from sparsec.cuda.device.tensors import BFLOAT16
from sparsec.cuda.products.operands import Output, Results, Rows
from sparsec.cuda.streams.bsr_steps import GROUPS, MOST, STEP, STRIPS, UNIT_BYTES, WINDOW, BlockSteps

STORE_BYTES = 1280  # of shared memory for a warp's results on their way out
STAGES, UNITS = 3, 56  # windows and units that there is shared memory for; UNITS holds two windows
BAND_BYTES = 16 << 20  # of X, that the L2 keeps
# Of a block of threads: windows with their parts of X and barriers, units, results.
SHARED_BYTES = STAGES * (64 * MOST * STEP * 2 + WINDOW.itemsize + 16) + UNITS * UNIT_BYTES + GROUPS * 4 * STORE_BYTES


@dataclass(frozen=True, slots=True)
class BlockTiling:
    """Of a product: tiles of 64 x `tiles` tokens; all rows are done for `together` of them before the next ones."""

    tiles: int
    together: int

    @property
    def tokens(self) -> int:
        """Of a tile."""
        return 64 * self.tiles


class _Operands(ctypes.Structure):
    _fields_ = (
        ("x", TensorMap),
        ("out", Output),
        *((name, c_void_p) for name in ("units", "windows", "tiles")),
        *((name, c_int) for name in ("row_tiles", "token_tiles", "together")),
        ("padding", c_char * 20),  # to a multiple of 64 bytes
    )


class BsrWgmma:
    """A block-sparse matrix W [m, k] of float16 or bfloat16 on one GPU."""

    def __init__(self, steps: BlockSteps, dtype: str, on: Device) -> None:
        self.steps = steps
        self.dtype = dtype
        self.device = on
        self._memory = Memory(self, on)
        self._arrays = [self._memory.upload(each) for each in (steps.units, steps.windows, steps.tiles)]

    @property
    def shape(self) -> tuple[int, int]:
        return self.steps.m, self.steps.k

    def launch(self, x: Rows, y: Results, stream: int) -> None:
        """Put a product on a stream."""
        by = block_tiling(self.steps)
        row_tiles, token_tiles = len(self.steps.tiles), -(-x.tokens // by.tokens)
        operands = _Operands(
            self.device.tensor_map(x.address, x.tokens, x.k, x.stride, (by.tokens, STEP)),
            y.output(x.tokens),
            *(each.address for each in self._arrays),
            *(row_tiles, token_tiles, min(by.together, token_tiles)),
        )
        macros = {"TILES": by.tiles, "STAGES": STAGES, "UNITS": UNITS}
        macros |= {"BF16": int(self.dtype == BFLOAT16), "ACTIVATION": y.activation}
        kernel = function(self.device, "bsr_wgmma", macros, SHARED_BYTES)
        blocks = min(row_tiles * token_tiles, self.device.multiprocessors)
        self.device.launch(kernel, (blocks, 1), 128 * (GROUPS + 1), operands, stream)


def block_tiling(steps: BlockSteps) -> BlockTiling:
    """As many tokens as the registers have sums for, given the strips of a tile."""
    tiles = STRIPS // steps.strips
    return BlockTiling(tiles, max(1, round(BAND_BYTES / (64 * tiles * steps.k * 2))))
