"""X and Y of a product on a GPU, as kernels are told of them."""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_longlong, c_void_p
from dataclasses import dataclass, replace


class Output(ctypes.Structure):
    """`Output` of `hopper.cuh`."""

    _fields_ = (
        *((name, c_void_p) for name in ("y", "bias")),
        ("stride", c_longlong),
        *((name, c_int) for name in ("m", "tokens", "wide")),
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
    """Y [tokens, m], row by row, the stride in elements; the bias's address or 0, and the activation's number."""

    address: int
    stride: int
    m: int
    bias: int
    activation: int

    def part(self, first: int) -> Results:
        """Of the tokens from one on."""
        return replace(self, address=self.address + 2 * first * self.stride)

    def output(self, tokens: int) -> Output:
        """For a kernel of `hopper.cuh`; 16 bytes at a time are written where all rows allow it."""
        wide = self.stride % 8 == 0 and self.address % 16 == 0
        return Output(self.address, self.bias, self.stride, self.m, tokens, int(wide))
