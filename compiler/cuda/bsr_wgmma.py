"""Block-sparse weights on Hopper's tensor cores: how products are cut up and launched."""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_int, c_void_p
from dataclasses import dataclass

from sparsec.cuda.bsr_steps import STEP, STRIPS, UNIT_BYTES, BlockSteps
from sparsec.cuda.driver import Device, TensorMap
from sparsec.cuda.memory import Memory
from sparsec.cuda.operands import Output, Results, Rows
from sparsec.cuda.program import function
from sparsec.cuda.tensors import BFLOAT16

GROUPS = 2  # warpgroups that multiply
STORE_BYTES = 1280  # of shared memory for a warp's results on their way out
STEP_BYTES = 16
STAGES = 12  # at most
BAND_BYTES = 16 << 20  # of X, that the L2 keeps


@dataclass(frozen=True, slots=True)
class BlockTiling:
    """Of a product: 64 x `token_groups` tokens, `row_groups` x 12 strips of rows, so many stages of X, and a ring of so
    many units in shared memory; all rows are done for `together` tiles of tokens before the next ones."""

    row_groups: int
    token_groups: int
    stages: int
    ring: int
    together: int

    @property
    def tokens(self) -> int:
        """Of a tile."""
        return 64 * self.token_groups

    @property
    def shared_bytes(self) -> int:
        """Of a block of threads: stages with their steps and barriers, the ring, results."""
        stages = self.stages * (self.tokens * STEP * 2 + STEP_BYTES + 16)
        return stages + self.ring * UNIT_BYTES + GROUPS * 4 * STORE_BYTES


class _Operands(ctypes.Structure):
    _fields_ = (
        ("x", TensorMap),
        ("out", Output),
        *((name, c_void_p) for name in ("units", "steps", "tiles")),
        *((name, c_int) for name in ("row_tiles", "token_tiles", "together")),
        ("padding", c_char * 52),  # to a multiple of 64 bytes
    )


class BsrWgmma:
    """A block-sparse matrix W [m, k] of float16 or bfloat16 on one GPU."""

    def __init__(self, steps: BlockSteps, dtype: str, on: Device) -> None:
        self.steps = steps
        self.dtype = dtype
        self.device = on
        self._memory = Memory(self, on)
        self._arrays = [self._memory.upload(each) for each in (steps.units, steps.steps, steps.tiles)]

    @property
    def shape(self) -> tuple[int, int]:
        return self.steps.m, self.steps.k

    def launch(self, x: Rows, y: Results, stream: int, tiling: BlockTiling | None = None) -> None:
        """Put a product on a stream."""
        by = tiling or block_tiling(self.steps, self.device.shared_bytes)
        row_tiles, token_tiles = len(self.steps.tiles), -(-x.tokens // by.tokens)
        operands = _Operands(
            self.device.tensor_map(x.address, x.tokens, x.k, x.stride, (by.tokens, STEP)),
            y.output(x.tokens),
            *(each.address for each in self._arrays),
            *(row_tiles, token_tiles, min(by.together, token_tiles)),
        )
        macros = {"STRIPS": STRIPS, "ROW_GROUPS": by.row_groups, "TOKEN_GROUPS": by.token_groups}
        macros |= {"STAGES": by.stages, "RING": by.ring}
        macros |= {"BF16": int(self.dtype == BFLOAT16), "ACTIVATION": y.activation}
        kernel = function(self.device, "bsr_wgmma", macros, by.shared_bytes)
        blocks = min(row_tiles * token_tiles, self.device.multiprocessors)
        self.device.launch(kernel, (blocks, 1), 128 * (GROUPS + 1), operands, stream)


def block_tiling(steps: BlockSteps, shared_bytes: int) -> BlockTiling:
    """Two warpgroups below each other or beside each other, as the strips of a tile are; as many stages as fit."""
    row_groups = steps.strips // STRIPS
    ring = 32 * row_groups  # at least the units of a step, which may be two for each strip
    none = BlockTiling(row_groups, GROUPS // row_groups, 0, ring, 1)
    one = BlockTiling(row_groups, GROUPS // row_groups, 1, ring, 1).shared_bytes - none.shared_bytes
    stages = min(STAGES, (shared_bytes - none.shared_bytes) // one)
    together = max(1, round(BAND_BYTES / (none.tokens * steps.k * 2)))
    return BlockTiling(row_groups, GROUPS // row_groups, stages, ring, together)
