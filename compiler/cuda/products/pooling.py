"""The maximum of each window of images, on a GPU."""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_void_p

from sparsec.cuda.code import program
from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.tensors import BFLOAT16
from sparsec.cuda.products.dense_operands import VECTOR
from sparsec.kernels.problem import Axis

_THREADS = 256


class _Axis(ctypes.Structure):
    _fields_ = tuple((name, c_int) for name in ("size", "kernel", "stride", "dilation", "before", "out"))


class _Operands(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("x", "y")),
        ("down", _Axis),
        ("right", _Axis),
        *((name, c_int) for name in ("images", "channels")),
    )


def launch(
    on: Device, dtype: str, images: int, channels: int, axes: tuple[Axis, Axis], x: int, y: int, stream: int
) -> None:
    """Put y [images, out height, out width, channels] on a stream, for x [images, height, width, channels] of 16 bits."""
    elements = images * channels * axes[0].out * axes[1].out
    if not elements:
        return
    wide = channels % VECTOR == 0 and x % 16 == 0 and y % 16 == 0
    down, right = (_Axis(a.size, a.kernel, a.stride, a.dilation, a.before, a.out) for a in axes)
    macros = {"LANES": VECTOR if wide else 1, "BF16": int(dtype == BFLOAT16)}
    kernel = program.function(on, "max_pool", macros, 0)
    blocks = -(-elements // (macros["LANES"] * _THREADS))
    on.launch(kernel, (blocks, 1), _THREADS, _Operands(x, y, down, right, images, channels), stream)
