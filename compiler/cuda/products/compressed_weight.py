"""A sparse weight on a GPU in all the forms that its products are the fastest with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.tensors import FLOAT8, FLOAT16
from sparsec.cuda.products.dense import DenseWeight
from sparsec.cuda.products.form import Encoded, Form, encoded_as, on_gpu
from sparsec.cuda.products.nm24_wgmma import Nm24Wgmma
from sparsec.cuda.products.sparse_weight import SparseWeight
from sparsec.cuda.products.ways import Way, WayKernel, preferred, ways, ways_of_bytes, ways_of_four_bits
from sparsec.cuda.streams.factors import Factors
from sparsec.cuda.streams.four_bits import dequantize
from sparsec.cuda.streams.nm24_byte_streams import Nm24ByteStreams
from sparsec.cuda.streams.nm24_tiles import Nm24Tiles
from sparsec.cuda.streams.w4_group_streams import W4GroupStreams
from sparsec.cuda.streams.w4_nm24_streams import W4Nm24Streams
from sparsec.cuda.streams.zeros import Zeros

Ways: TypeAlias = Callable[[int], Sequence[Way]]
Make: TypeAlias = Callable[[WayKernel], Form | None]


class CompressedWeight:
    """A matrix W [m, k] on one GPU, for `matmul`, whose results are float16 or bfloat16 (`dtype`).

    The first product with some number of tokens chooses a kernel by the cost model, dense ones among them, and makes and copies
    the form that it reads; a form that is there is used unless another is predicted to be a tenth faster. So the weight may be
    on the GPU several times. Products with one weight must be in one order (one stream, or streams that wait): forms have
    counters.
    """

    def __init__(
        self, shape: tuple[int, int], dtype: str, on: Device, factors: Factors, ways: Ways, make: Make
    ) -> None:
        """`ways` says of a number of tokens what there is, the fastest first; `make` makes a form, or None if it turns out that
        there is none; the last one is always made."""
        self.shape = shape
        self.dtype = dtype
        self.device = on
        self.factors = factors
        self._ways, self._make = ways, make
        self._forms: dict[WayKernel, Form | None] = {}
        self._chosen: dict[int, Way] = {}

    def form(self, tokens: int) -> Form:
        """What products with so many tokens are done with; the first makes it, so not while a graph is captured."""
        found = self._forms[self.way(tokens).kernel]
        assert found is not None, "what was chosen is there"
        return found

    def way(self, tokens: int) -> Way:
        """The kernel of products with so many tokens, and how long they should take."""
        if tokens not in self._chosen:
            there = [kernel for kernel, form in self._forms.items() if form is not None]
            found = preferred(self._ways(tokens), there)
            self._chosen[tokens] = next(way for way in found if self._made(way.kernel) is not None)
        return self._chosen[tokens]

    def _made(self, kernel: WayKernel) -> Form | None:
        if kernel not in self._forms:
            self._forms[kernel] = self._make(kernel)
        return self._forms[kernel]


def of_halves(bits: NDArray[np.uint16], dtype: str, on: Device) -> CompressedWeight:
    """A matrix of float16 or bfloat16, given as its bits."""
    zeros, source = Zeros.of(bits), _Source(bits)

    def make(kernel: WayKernel) -> Form | None:
        if kernel == "dense":
            return DenseWeight(source.bits(), dtype, on)
        encoded = encoded_as(kernel, source.bits(), on)
        if encoded is None:
            return None
        source.keep(encoded)
        return on_gpu(encoded, dtype, on)

    return CompressedWeight(bits.shape, dtype, on, Factors(dtype), lambda tokens: ways(zeros, tokens, on), make)


def of_bytes(bits: NDArray[np.uint8], factors: Factors, out: str, on: Device) -> CompressedWeight:
    """A 2:4 matrix of elements of eight bits, given as them, whose results are of type `out`."""
    m, k = bits.shape
    float8 = factors.dtype == FLOAT8
    streams = Nm24ByteStreams.encode(bits, on.multiprocessors)

    def make(kernel: WayKernel) -> Form | None:
        if kernel == "nm24_mma":
            return SparseWeight(streams, out, on, factors)
        return Nm24Wgmma(Nm24Tiles.encode(streams.decode()), out, on, factors)

    def found(tokens: int) -> Sequence[Way]:
        return ways_of_bytes(m, k, tokens, on, float8=float8)

    return CompressedWeight((m, k), out, on, factors, found, make)


def of_four_bits(streams: W4Nm24Streams | W4GroupStreams, nonzeros: int, dtype: str, on: Device) -> CompressedWeight:
    """A matrix of numbers of four bits, so many of them in use, with scales, for X of float16 or bfloat16 (`dtype`)."""
    m, k = streams.m, streams.k

    def make(kernel: WayKernel) -> Form | None:
        if kernel != "dense":
            return SparseWeight(streams, dtype, on)
        values = dequantize(*streams.decode()).astype(np.float16 if dtype == FLOAT16 else ml_dtypes.bfloat16)
        return DenseWeight(values.view(np.uint16), dtype, on)

    def found(tokens: int) -> Sequence[Way]:
        return ways_of_four_bits(streams.kernel, m, k, nonzeros, tokens, on)

    return CompressedWeight((m, k), dtype, on, Factors(dtype), found, make)


class _Source:
    """Of further forms: the matrix, and as soon as there is one, the first that was encoded of it, which is smaller."""

    def __init__(self, bits: NDArray[np.uint16]) -> None:
        self._bits: NDArray[np.uint16] | None = bits
        self._encoded: Encoded | None = None

    def bits(self) -> NDArray[np.uint16]:
        if self._bits is not None:
            return self._bits
        assert self._encoded is not None
        return cast("NDArray[np.uint16]", self._encoded.decode())

    def keep(self, encoded: Encoded) -> None:
        if self._bits is not None:
            self._bits, self._encoded = None, encoded
