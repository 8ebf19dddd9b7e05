"""X and Y of a product on a GPU, as kernels are told of them."""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_longlong, c_void_p
from dataclasses import dataclass, replace


class Output(ctypes.Structure):
    """`Output` of `output.cuh`."""

    _fields_ = (
        *((name, c_void_p) for name in ("y", "bias", "residual", "row_scales", "token_scales")),
        *((name, c_longlong) for name in ("stride", "residual_stride")),
        *((name, c_int) for name in ("m", "tokens", "wide", "unused")),
    )


@dataclass(frozen=True, slots=True)
class Rows:
    """X: rows of `k` elements of 16 bits, of which 16 bytes at a time can be read; the stride in elements."""

    address: int
    stride: int
    tokens: int
    k: int

    def part(self, first: int, count: int) -> Rows:
        """At most so many tokens, from one on."""
        return Rows(self.address + 2 * first * self.stride, self.stride, min(count, self.tokens - first), self.k)


@dataclass(frozen=True, slots=True)
class Results:
    """Y [tokens, m], row by row, the stride in elements; the bias's address or 0, and the activation's number, with
    `product.FIRST` added to it if what is added comes before it; what is added, as Y is, or nothing (address 0); the scales
    of X's tokens, float32, or 0 for ones."""

    address: int
    stride: int
    m: int
    bias: int
    activation: int
    residual: int = 0
    residual_stride: int = 0
    token_scales: int = 0

    def part(self, first: int) -> Results:
        """Of the tokens from one on."""
        added = self.residual + 2 * first * self.residual_stride if self.residual else 0
        scales = self.token_scales + 4 * first if self.token_scales else 0
        return replace(self, address=self.address + 2 * first * self.stride, residual=added, token_scales=scales)

    def output(self, tokens: int, row_scales: int = 0) -> Output:
        """For a kernel with `output.cuh`, with the scales of W's rows; 16 bytes at a time are written and read where all rows
        allow it."""
        rows = [(self.address, self.stride)] + [(self.residual, self.residual_stride)] * (self.residual != 0)
        wide = all(stride % 8 == 0 and address % 16 == 0 for address, stride in rows)
        return Output(
            *(self.address, self.bias, self.residual, row_scales, self.token_scales),
            *(self.stride, self.residual_stride, self.m, tokens, int(wide), 0),
        )
