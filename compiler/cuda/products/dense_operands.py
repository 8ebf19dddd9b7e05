"""What kernels of dense products are told of: matrices of a batch, and what is done to sums on their way out."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int, c_longlong, c_void_p
from dataclasses import dataclass

VECTOR = 8  # elements that are read and written at once


class MatrixArgument(ctypes.Structure):
    """`Matrix` of `dense_tile.cuh`."""

    _fields_ = (("at", c_void_p), *((name, c_longlong) for name in ("stride", "outer", "inner")))


class EpilogueArgument(ctypes.Structure):
    """`Epilogue` of `epilogue.cuh`."""

    _fields_ = (
        *((name, c_void_p) for name in ("y", "bias", "residual")),
        *((name, c_longlong) for name in ("stride", "outer", "inner")),
        *((name, c_longlong) for name in ("residual_stride", "residual_outer", "residual_inner")),
        ("scale", c_float),
        *((name, c_int) for name in ("tokens", "m", "wide", "residual_first")),
    )


@dataclass(frozen=True, slots=True)
class Matrices:
    """Matrices of 16-bit elements, of a batch with two axes, `outer` and `inner` elements from one to the next.

    Element (row, column) is at row * stride + column or, if `transposed`, at column * stride + row.
    """

    address: int
    stride: int
    transposed: bool = False
    outer: int = 0
    inner: int = 0

    @property
    def argument(self) -> MatrixArgument:
        return MatrixArgument(self.address, self.stride, self.outer, self.inner)

    @property
    def wide(self) -> bool:
        """Whether 16 bytes at a time can be read, or written."""
        return self.address % (2 * VECTOR) == 0 and all(
            each % VECTOR == 0 for each in (self.stride, self.outer, self.inner)
        )


@dataclass(frozen=True, slots=True)
class Epilogue:
    """y = act(scale * sum + bias) + residual or, with `residual_first`, act(scale * sum + bias + residual); one rounding.

    `bias` is the address of float32 [m] or 0; `activation` its number in
    `product.ACTIVATIONS`; `residual` has the type and the shape of y, whose rows are not transposed either.
    """

    bias: int = 0
    activation: int = 0
    residual: Matrices | None = None
    residual_first: bool = False
    scale: float = 1.0

    def argument(self, y: Matrices, tokens: int, m: int) -> EpilogueArgument:
        """For results [tokens, m] of each of a batch."""
        added = self.residual or Matrices(0, y.stride)
        return EpilogueArgument(
            *(y.address, self.bias, added.address),
            *(y.stride, y.outer, y.inner, added.stride, added.outer, added.inner),
            *(self.scale, tokens, m, int(y.wide and added.wide), int(self.residual_first)),
        )
