"""Block-sparse weights on Hopper's tensor cores: what all formats of them are launched with."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from ctypes import c_char, c_int, c_void_p
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.code.program import function
from sparsec.cuda.device.driver import Device, TensorMap
from sparsec.cuda.device.memory import Memory
from sparsec.cuda.device.tensors import BFLOAT16
from sparsec.cuda.products.operands import Output, Results, Rows

BAND_BYTES = 16 << 20  # of X, that the L2 keeps


class Tiling(Protocol):
    """How a product is cut up: tiles of so many tokens, copied in boxes of tokens and columns, by blocks of so many threads."""

    @property
    def tokens(self) -> int: ...

    @property
    def box(self) -> tuple[int, int]: ...

    @property
    def threads(self) -> int: ...

    @property
    def shared_bytes(self) -> int: ...

    @property
    def macros(self) -> Mapping[str, int]: ...

    def blocks(self, tiles: int, workers: int) -> int:
        """Of threads, for so many tiles on so many multiprocessors."""


class _Operands(ctypes.Structure):
    _fields_ = (
        ("x", TensorMap),
        ("out", Output),
        *((name, c_void_p) for name in ("units", "parts", "tiles")),
        *((name, c_int) for name in ("row_tiles", "token_tiles", "together")),
        ("padding", c_char * 20),  # to a multiple of 64 bytes
    )


class BlockWeight(ABC):
    """A block-sparse matrix W [m, k] of float16 or bfloat16 on one GPU."""

    def __init__(
        self, kernel: str, shape: tuple[int, int], tables: Sequence[NDArray[np.generic]], dtype: str, on: Device
    ) -> None:
        """`tables` are its units, what says where they belong (windows, pieces, words) and the row tiles."""
        self.kernel = kernel
        self.shape = shape
        self.dtype = dtype
        self.device = on
        self._memory = Memory(self, on)
        self._row_tiles = len(tables[-1])
        self._tables = [self._memory.upload(each) for each in tables]

    @abstractmethod
    def tiling(self, tokens: int) -> Tiling:
        """Of a product with so many tokens."""

    def launch(self, x: Rows, y: Results, stream: int, tiling: Tiling | None = None) -> None:
        """Put a product on a stream; all rows are done for a band of tokens before the next ones."""
        by = tiling or self.tiling(x.tokens)
        token_tiles = -(-x.tokens // by.tokens)
        together = max(1, round(BAND_BYTES / (by.tokens * self.shape[1] * 2)))
        operands = _Operands(
            self.device.tensor_map(x.address, x.tokens, x.k, x.stride, by.box),
            y.output(x.tokens),
            *(each.address for each in self._tables),
            *(self._row_tiles, token_tiles, min(together, token_tiles)),
        )
        macros = {**by.macros, "BF16": int(self.dtype == BFLOAT16), "ACTIVATION": y.activation}
        kernel = function(self.device, self.kernel, macros, by.shared_bytes)
        blocks = by.blocks(self._row_tiles * token_tiles, self.device.multiprocessors)
        self.device.launch(kernel, (blocks, 1), by.threads, operands, stream)
