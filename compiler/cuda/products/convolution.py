"""Convolutions on a GPU: as products on tensor cores (`conv_mma`) or, of one channel a filter, directly (`conv_depthwise`)."""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_longlong, c_void_p
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.code import program
from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.memory import Memory
from sparsec.cuda.device.tensors import BFLOAT16
from sparsec.cuda.network.plan import Layout
from sparsec.cuda.products.dense_mma import DenseSizes, TileShape, best_shape
from sparsec.cuda.products.dense_operands import VECTOR, Epilogue, EpilogueArgument, Matrices
from sparsec.kernels.problem import Axis

TAP = np.dtype([("offset", np.int32), ("down", np.int16), ("right", np.int16)])
_THREADS = 256  # of a block of `conv_depthwise`

Bits: TypeAlias = NDArray[np.uint16]
Order: TypeAlias = Literal["whole", "as they are", "taps"]
"""Of filters in memory: one after another, padded so that each begins at a multiple of 16 bytes, or not; or all of them for each
tap."""


class _Input(ctypes.Structure):
    _fields_ = (
        ("x", c_void_p),
        ("taps", c_void_p),
        ("image_stride", c_longlong),
        *(
            (name, c_int)
            for name in ("pixels", "out_width", "out_height", "height", "width", "row_stride", "pixel_stride")
        ),
        *((name, c_int) for name in ("stride_down", "stride_right", "before_down", "before_right")),
    )


class _Operands(ctypes.Structure):
    _fields_ = (
        ("input", _Input),
        ("weight", c_void_p),
        *((name, c_longlong) for name in ("weight_stride", "group_stride")),
        ("out", EpilogueArgument),
        *((name, c_int) for name in ("row_tiles", "token_tiles", "together", "k", "filters", "groups")),
    )


class _Depthwise(ctypes.Structure):
    _fields_ = (
        ("input", _Input),
        ("weight", c_void_p),
        ("channel_stride", c_longlong),
        ("out", EpilogueArgument),
        *((name, c_int) for name in ("taps", "filters", "of_channel", "images")),
    )


@dataclass(frozen=True, slots=True)
class Geometry:
    """Of a convolution but for the number of images: channels of x, filters, groups, the axes down and to the right."""

    channels: int
    filters: int
    groups: int
    axes: tuple[Axis, Axis]
    layout: Layout

    @property
    def nchw(self) -> bool:
        return self.layout == "nchw"

    @property
    def depthwise(self) -> bool:
        """Whether each filter has one channel."""
        return self.channels == self.groups

    @property
    def order(self) -> Order:
        """Of filters in memory."""
        return "whole" if not self.depthwise else "as they are" if self.nchw else "taps"

    @property
    def pixels(self) -> int:
        """Of y, in one image."""
        return self.axes[0].out * self.axes[1].out

    @property
    def channel_stride(self) -> int:
        """Of x, elements; likewise the others."""
        return self.axes[0].size * self.axes[1].size if self.nchw else 1

    @property
    def pixel_stride(self) -> int:
        return 1 if self.nchw else self.channels

    @property
    def image_stride(self) -> int:
        return self.channels * self.axes[0].size * self.axes[1].size

    def taps(self, channels: int) -> NDArray[np.void]:
        """Of a pixel's window: rows of taps, taps of a row, so many channels."""
        down, right = self.axes
        taps = np.empty((down.kernel, right.kernel, channels), dtype=TAP)
        taps["down"] = (np.arange(down.kernel) * down.dilation)[:, None, None]
        taps["right"] = (np.arange(right.kernel) * right.dilation)[:, None]
        pixel = taps["down"].astype(np.int64) * right.size + taps["right"]
        taps["offset"] = pixel * self.pixel_stride + np.arange(channels) * self.channel_stride
        return taps.reshape(-1)

    def input(self, x: int, taps: int, images: int) -> _Input:
        """For kernels, that have so many images at once."""
        down, right = self.axes
        return _Input(
            *(x, taps, self.image_stride, images * self.pixels, right.out, down.out, down.size, right.size),
            *(right.size * self.pixel_stride, self.pixel_stride),
            *(down.stride, right.stride, down.before, right.before),
        )

    def matrices(self, address: int) -> Matrices:
        """y, or what is laid out like it: [pixels, filters] or, in NCHW, [filters, pixels] of images; inner: groups."""
        if self.nchw:
            whole = self.filters * self.pixels
            return Matrices(address, self.pixels, outer=whole, inner=whole // self.groups)
        return Matrices(address, self.filters, inner=self.filters // self.groups)

    def epilogue(self, y: int, images: int, after: Epilogue, filters: int) -> EpilogueArgument:
        """For kernels that have so many filters at once; only the address of a residual counts."""
        added = None if after.residual is None else self.matrices(after.residual.address)
        own = replace(after, residual=added, bias_by_token=self.nchw)
        tokens, m = (filters, self.pixels) if self.nchw else (images * self.pixels, filters)
        return own.argument(self.matrices(y), tokens, m)


class Filters:
    """Filters [filters, channels / groups, height, width] of float16 or bfloat16 bits on one GPU, for images of any size.

    `order` is of the geometries that they are for.
    """

    def __init__(self, bits: Bits, dtype: str, order: Order, on: Device) -> None:
        self.dtype = dtype
        self.device = on
        self._memory = Memory(self, on)
        laid_out = bits.transpose(0, 2, 3, 1).reshape(len(bits), -1)
        self.k = laid_out.shape[1]
        if order == "taps":
            laid_out = np.pad(laid_out.T, ((0, 0), (0, -len(bits) % VECTOR)))
        elif order == "whole":
            laid_out = np.pad(laid_out, ((0, 0), (0, -self.k % VECTOR)))
        self.stride = laid_out.shape[1]
        self.address = self._memory.upload(laid_out).address


class ConvolutionWeight:
    """Filters for images of one size; y = x * W for x [images, channels, height, width] in the order that the geometry's
    layout names, without gaps."""

    def __init__(self, filters: Filters, geometry: Geometry) -> None:
        self.geometry = geometry
        self.dtype = filters.dtype
        self.device = filters.device
        self._filters = filters
        self._memory = Memory(self, filters.device)
        own = geometry.channels // geometry.groups
        self._wide_channels = not geometry.nchw and (geometry.channels if geometry.depthwise else own) % VECTOR == 0
        taps = geometry.taps(own)
        self._taps = {False: self._memory.upload(taps), True: self._memory.upload(taps[::VECTOR])}

    @classmethod
    def of(cls, bits: Bits, dtype: str, geometry: Geometry, on: Device) -> ConvolutionWeight:
        """With filters of its own."""
        return cls(Filters(bits, dtype, geometry.order, on), geometry)

    def launch(
        self,
        images: int,
        x: int,
        y: int,
        stream: int,
        *,
        epilogue: Epilogue | None = None,
        shape: TileShape | None = None,
    ) -> None:
        """Put it on a stream, for x and y at these addresses."""
        after = epilogue or Epilogue()
        if not images * self.geometry.pixels * self.geometry.filters:
            return
        wide = self._wide_channels and x % (2 * VECTOR) == 0
        if self.geometry.depthwise:
            self._launch_depthwise(images, x, y, stream, after, wide)
        else:
            self._launch_product(images, x, y, stream, after, wide, shape)

    def _macros(self, after: Epilogue, wide: bool) -> dict[str, int]:
        macros = {"NCHW": int(self.geometry.nchw), "BY_EIGHTS": int(wide)}
        return macros | {"BF16": int(self.dtype == BFLOAT16), "ACTIVATION": after.activation}

    def _launch_product(
        self, images: int, x: int, y: int, stream: int, after: Epilogue, wide: bool, shape: TileShape | None
    ) -> None:
        what, filters = self.geometry, self.geometry.filters // self.geometry.groups
        if what.nchw:
            sizes = DenseSizes(filters, what.pixels, self._filters.k, images, what.groups)
        else:
            sizes = DenseSizes(images * what.pixels, filters, self._filters.k, 1, what.groups)
        by = shape or best_shape(sizes, self.device, narrow=not wide)
        row_tiles, token_tiles = -(-sizes.m // by.rows), -(-sizes.tokens // by.tokens)
        operands = _Operands(
            what.input(x, self._taps[wide].address, 1 if what.nchw else images),
            *(
                self._filters.address,
                self._filters.stride,
                self._filters.k // (what.axes[0].kernel * what.axes[1].kernel) * what.channel_stride,
            ),
            what.epilogue(y, images, after, filters),
            *(row_tiles, token_tiles, min(token_tiles, 8), self._filters.k, filters, what.groups),
        )
        lines = {"X_LINES": int(not what.nchw and not wide), "W_LINES": int(what.nchw), "X_WIDE": 1, "W_WIDE": 1}
        shared_bytes = by.shared_bytes(x_lines=bool(lines["X_LINES"]), w_lines=bool(lines["W_LINES"]))
        kernel = program.function(self.device, "conv_mma", by.macros | lines | self._macros(after, wide), shared_bytes)
        blocks = sizes.outer * sizes.inner * row_tiles * token_tiles
        self.device.launch(kernel, (blocks, 1), by.threads, operands, stream)

    def _launch_depthwise(self, images: int, x: int, y: int, stream: int, after: Epilogue, wide: bool) -> None:
        what = self.geometry
        wide = wide and what.filters == what.channels
        operands = _Depthwise(
            what.input(x, self._taps[False].address, 1 if what.nchw else images),
            *(self._filters.address, what.channel_stride),
            what.epilogue(y, images, after, what.filters),
            *(self._filters.k, what.filters, what.filters // what.channels, images),
        )
        kernel = program.function(self.device, "conv_depthwise", self._macros(after, wide), 0)
        eights = -(-what.pixels // VECTOR) * what.filters if what.nchw else what.pixels * -(-what.filters // VECTOR)
        self.device.launch(kernel, (-(-images * eights // _THREADS), 1), _THREADS, operands, stream)
