"""A dense weight on a GPU: its products by the kernel that should be fastest for the number of tokens."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.memory import Memory
from sparsec.cuda.products import cublas, dense_few, dense_mma, dense_wgmma
from sparsec.cuda.products.cublas import CublasLt, LtProduct
from sparsec.cuda.products.dense_mma import DenseSizes
from sparsec.cuda.products.dense_operands import VECTOR, Epilogue, Matrices
from sparsec.cuda.products.operands import Rows

DenseKernel: TypeAlias = Literal["dense_few", "dense_wgmma", "dense_mma", "cublas"]

_FEW = 16  # tokens, up to which `dense_few` was the fastest of all that was measured, or nearly
_RELU = 1


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

    def kernels(self, x: Rows, y: Matrices, epilogue: Epilogue | None = None) -> tuple[DenseKernel, ...]:
        """Which can do such products, that which should be the fastest first: cuBLAS, where this machine has it, has no bias
        in float32 and of the activations relu only, and takes whole vectors; there it is some percent faster than
        `dense_wgmma`."""
        few = x.tokens <= _FEW
        found: list[DenseKernel] = ["dense_mma"]
        if x.address % 16 == 0 and x.stride % VECTOR == 0:
            if x.tokens <= dense_few.MOST_TOKENS and self.k % VECTOR == 0:
                found.insert(0, "dense_few")
            if self.device.architecture == dense_wgmma.ARCHITECTURE:
                found.insert(int(few and found[0] == "dense_few"), "dense_wgmma")
        if self._cublas(x, y, epilogue or Epilogue()):
            found.insert(int(few and found[0] == "dense_few"), "cublas")
        return tuple(found)

    def _cublas(self, x: Rows, y: Matrices, after: Epilogue) -> tuple[CublasLt, LtProduct] | None:
        """cuBLAS and the product as it has it, if it does."""
        relu, added = after.activation == _RELU, after.residual
        if (
            after.bias
            or after.scale != 1
            or (after.activation and not relu)
            or (relu and added and not after.residual_first)
        ):
            return None
        aligned = cublas.alignment(x.address, y.address, added.address if added else 0)
        if aligned < 2 * VECTOR:
            return None
        library = cublas.of(self.device)
        strides = x.stride, self._stride, y.stride, added.stride if added else y.stride
        product = LtProduct(x.tokens, self.m, self.k, *strides, self.dtype, bias=False, relu=relu, alignment=aligned)
        return (library, product) if library is not None and library.has(product) else None

    def launch(
        self,
        x: Rows,
        y: Matrices,
        stream: int,
        *,
        epilogue: Epilogue | None = None,
        kernel: DenseKernel | None = None,
        workspace: int = 0,
    ) -> None:
        """Put a product on a stream. The first with so many tokens makes kernels and memory: not while capturing.

        `workspace` is the address of `cublas.WORKSPACE_BYTES`; without it cuBLAS has one for all products on the GPU, which
        must then be in one order.
        """
        if not x.tokens * self.m:
            return
        after, w = epilogue or Epilogue(), self.rows
        match kernel or self.kernels(x, y, after)[0]:
            case "dense_few":
                dense_few.launch(self.device, self.dtype, self.m, x, w, y, self._memory, stream, after)
            case "dense_wgmma":
                dense_wgmma.launch(self.device, self.dtype, self.m, x, w, y, stream, after)
            case "dense_mma":
                sizes = DenseSizes(x.tokens, self.m, self.k)
                matrices = Matrices(x.address, x.stride), Matrices(w.address, w.stride), y
                dense_mma.launch(self.device, self.dtype, sizes, *matrices, stream, epilogue=after)
            case "cublas":
                found = self._cublas(x, y, after)
                assert found is not None, "`kernels` has it"
                library, product = found
                added = after.residual.address if after.residual else 0
                library.launch(product, x.address, w.address, y.address, stream, residual=added, workspace=workspace)
