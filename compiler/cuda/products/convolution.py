"""Convolutions of images with channels last on a GPU: as products on tensor cores (`dense_wgmma`, where its copies do, else
`conv_mma`) or, of one channel a filter, directly (`conv_depthwise`)."""

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
from sparsec.cuda.products import dense_wgmma
from sparsec.cuda.products.dense_mma import DenseSizes, TileShape, best_shape
from sparsec.cuda.products.dense_operands import VECTOR, Epilogue, EpilogueArgument, Matrices
from sparsec.cuda.products.dense_wgmma import Windows
from sparsec.cuda.products.operands import Rows
from sparsec.kernels.problem import Axis

TAP = np.dtype([("offset", np.int32), ("down", np.int16), ("right", np.int16)])
_THREADS = 256  # of a block of `conv_depthwise`
_ACROSS, _RESIDENT = 4, 1024  # pixels of a thread of it, where a multiprocessor has so many threads all the same
_WIDEST = 7  # windows whose filters a thread keeps in registers

Bits: TypeAlias = NDArray[np.uint16]
Order: TypeAlias = Literal["whole", "taps"]
"""Of filters in memory: one after another, padded so that each begins at a multiple of 16 bytes; or all of them for each tap."""


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
        ("out", EpilogueArgument),
        *((name, c_int) for name in ("taps", "filters", "of_channel", "rows_of_taps", "apart")),
    )


@dataclass(frozen=True, slots=True)
class Geometry:
    """Of a convolution but for the number of images: channels of x, filters, groups, the axes down and to the right."""

    channels: int
    filters: int
    groups: int
    axes: tuple[Axis, Axis]
    strides: tuple[int, int, int]  # of x, elements: from an image, a row, a pixel to the next

    @classmethod
    def whole(cls, channels: int, filters: int, groups: int, axes: tuple[Axis, Axis]) -> Geometry:
        """Of images without gaps."""
        row = axes[1].size * channels
        return cls(channels, filters, groups, axes, (axes[0].size * row, row, channels))

    @property
    def depthwise(self) -> bool:
        """Whether each filter has one channel."""
        return self.channels == self.groups

    @property
    def order(self) -> Order:
        """Of filters in memory."""
        return "taps" if self.depthwise else "whole"

    @property
    def pixels(self) -> int:
        """Of y, in one image."""
        return self.axes[0].out * self.axes[1].out

    def taps(self, channels: int) -> NDArray[np.void]:
        """Of a pixel's window: rows of taps, taps of a row, so many channels."""
        down, right = self.axes
        taps = np.empty((down.kernel, right.kernel, channels), dtype=TAP)
        taps["down"] = (np.arange(down.kernel) * down.dilation)[:, None, None]
        taps["right"] = (np.arange(right.kernel) * right.dilation)[:, None]
        place = taps["down"].astype(np.int64) * self.strides[1] + taps["right"].astype(np.int64) * self.strides[2]
        taps["offset"] = place + np.arange(channels)
        return taps.reshape(-1)

    def input(self, x: int, taps: int, images: int) -> _Input:
        """For kernels."""
        down, right = self.axes
        return _Input(
            *(x, taps, self.strides[0], images * self.pixels, right.out, down.out, down.size, right.size),
            *self.strides[1:],
            *(down.stride, right.stride, down.before, right.before),
        )

    def matrices(self, address: int) -> Matrices:
        """y, or what is laid out like it: [pixels of all images, filters]; inner: groups."""
        return Matrices(address, self.filters, inner=self.filters // self.groups)

    def epilogue(self, y: int, images: int, after: Epilogue, filters: int) -> EpilogueArgument:
        """For kernels that have so many filters at once."""
        return self.placed(after).argument(self.matrices(y), images * self.pixels, filters)

    def placed(self, after: Epilogue) -> Epilogue:
        """With the residual as y lies; only its address counts."""
        return replace(after, residual=after.residual and self.matrices(after.residual.address))


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
        else:
            laid_out = np.pad(laid_out, ((0, 0), (0, -self.k % VECTOR)))
        self.stride = laid_out.shape[1]
        self.address = self._memory.upload(laid_out).address


class ConvolutionWeight:
    """Filters for images of one size; y = x * W for x [images, height, width, channels], y without gaps."""

    def __init__(self, filters: Filters, geometry: Geometry) -> None:
        self.geometry = geometry
        self.dtype = filters.dtype
        self.device = filters.device
        self._filters = filters
        self._memory = Memory(self, filters.device)
        own = geometry.channels // geometry.groups
        starts = geometry.channels if geometry.depthwise else own, *geometry.strides
        self._wide_channels = not any(each % VECTOR for each in starts)
        taps = geometry.taps(own)
        self._taps = {False: self._memory.upload(taps), True: self._memory.upload(taps[::VECTOR])}

    @property
    def _has_windows(self) -> bool:
        """Whether this GPU copies pixels of windows by itself."""
        return self.geometry.groups == 1 and self.device.architecture == dense_wgmma.ARCHITECTURE

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
        windows = Windows(x, images, self.geometry.channels, self.geometry.axes, self.geometry.strides)
        if shape is None and self._has_windows and windows.fit:
            filters = Rows(self._filters.address, self._filters.stride, self.geometry.filters, self._filters.k)
            out, given = self.geometry.matrices(y), self.geometry.placed(after)
            dense_wgmma.launch(self.device, self.dtype, self.geometry.filters, windows, filters, out, stream, given)
        elif self.geometry.depthwise:
            self._launch_depthwise(images, x, y, stream, after, wide)
        else:
            self._launch_product(images, x, y, stream, after, wide, shape)

    def _macros(self, after: Epilogue, wide: bool) -> dict[str, int]:
        return {"BY_EIGHTS": int(wide), "BF16": int(self.dtype == BFLOAT16), "ACTIVATION": after.activation}

    def _launch_product(
        self, images: int, x: int, y: int, stream: int, after: Epilogue, wide: bool, shape: TileShape | None
    ) -> None:
        what, filters = self.geometry, self.geometry.filters // self.geometry.groups
        sizes = DenseSizes(images * what.pixels, filters, self._filters.k, 1, what.groups)
        by = shape or best_shape(sizes, self.device, narrow=not wide)
        row_tiles, token_tiles = -(-sizes.m // by.rows), -(-sizes.tokens // by.tokens)
        operands = _Operands(
            what.input(x, self._taps[wide].address, images),
            *(self._filters.address, self._filters.stride, what.channels // what.groups),
            what.epilogue(y, images, after, filters),
            *(row_tiles, token_tiles, min(token_tiles, 8), self._filters.k, filters, what.groups),
        )
        lines = {"X_LINES": int(not wide), "W_LINES": 0, "X_WIDE": 1, "W_WIDE": 1}
        shared_bytes = by.shared_bytes(x_lines=not wide)
        kernel = program.function(self.device, "conv_mma", by.macros | lines | self._macros(after, wide), shared_bytes)
        blocks = sizes.outer * sizes.inner * row_tiles * token_tiles
        self.device.launch(kernel, (blocks, 1), by.threads, operands, stream)

    def _launch_depthwise(self, images: int, x: int, y: int, stream: int, after: Epilogue, wide: bool) -> None:
        what = self.geometry
        wide = wide and what.filters == what.channels
        operands = _Depthwise(
            what.input(x, self._taps[False].address, images),
            self._filters.address,
            what.epilogue(y, images, after, what.filters),
            *(self._filters.k, what.filters, what.filters // what.channels),
            *(what.axes[0].kernel, what.axes[0].dilation),
        )
        right, rows = what.axes[1], images * what.axes[0].out * -(-what.filters // VECTOR)
        across = _ACROSS if rows * right.out >= _ACROSS * _RESIDENT * self.device.multiprocessors else 1
        if not wide or right.dilation > 1 or right.kernel > _WIDEST:
            across = 0
        shape = {"ACROSS": across, "RIGHT": right.kernel, "STEP": right.stride} if across else {"ACROSS": 0}
        kernel = program.function(self.device, "conv_depthwise", self._macros(after, wide) | shape, 0)
        threads = rows * -(-right.out // max(1, across))
        self.device.launch(kernel, (-(-threads // _THREADS), 1), _THREADS, operands, stream)
