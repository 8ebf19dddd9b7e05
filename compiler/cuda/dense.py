"""A dense weight on a GPU: its products by the kernel that should be fastest for the number of tokens."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda import dense_few, dense_mma, dense_wgmma
from sparsec.cuda.dense_mma import DenseSizes
from sparsec.cuda.dense_operands import VECTOR, Epilogue, Matrices
from sparsec.cuda.driver import Device
from sparsec.cuda.memory import Memory
from sparsec.cuda.operands import Rows

DenseKernel: TypeAlias = Literal["dense_few", "dense_wgmma", "dense_mma"]


class DenseWeight:
    """W [m, k] of float16 or bfloat16 bits on one GPU; y [tokens, m] = x W^T with what an `Epilogue` does."""

    def __init__(self, bits: NDArray[np.uint16], dtype: str, on: Device) -> None:
        self.m, self.k = bits.shape
        self.dtype = dtype
        self.device = on
        self._memory = Memory(self, on)
        self._stride = -(-self.k // VECTOR) * VECTOR
        self._weight = self._memory.upload(np.pad(bits, ((0, 0), (0, self._stride - self.k))))

    @property
    def shape(self) -> tuple[int, int]:
        return self.m, self.k

    @property
    def rows(self) -> Rows:
        """Where it lies."""
        return Rows(self._weight.address, self._stride, self.m, self.k)

    def kernel(self, x: Rows) -> DenseKernel:
        """Which one such products are done by."""
        aligned = x.address % 16 == 0 and x.stride % VECTOR == 0
        if aligned and x.tokens <= dense_few.MOST_TOKENS and self.k % VECTOR == 0:
            return "dense_few"
        return "dense_wgmma" if aligned and self.device.architecture == dense_wgmma.ARCHITECTURE else "dense_mma"

    def launch(
        self, x: Rows, y: Matrices, stream: int, *, epilogue: Epilogue | None = None, kernel: DenseKernel | None = None
    ) -> None:
        """Put a product on a stream. The first with so many tokens makes kernels and memory: not while capturing."""
        if not x.tokens * self.m:
            return
        after, w = epilogue or Epilogue(), self.rows
        match kernel or self.kernel(x):
            case "dense_few":
                dense_few.launch(self.device, self.dtype, self.m, x, w, y, self._memory, stream, after)
            case "dense_wgmma":
                dense_wgmma.launch(self.device, self.dtype, self.m, x, w, y, stream, after)
            case "dense_mma":
                sizes = DenseSizes(x.tokens, self.m, self.k)
                matrices = Matrices(x.address, x.stride), Matrices(w.address, w.stride), y
                dense_mma.launch(self.device, self.dtype, sizes, *matrices, stream, epilogue=after)
