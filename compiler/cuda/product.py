"""`matmul`: Y = X W^T with a sparse W on a GPU, launched on the caller's stream."""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_longlong, c_void_p
from typing import Literal, TypeAlias

from sparsec.cuda import tensors
from sparsec.cuda.driver import Buffer
from sparsec.cuda.operands import Results, Rows
from sparsec.cuda.partition import WARPS
from sparsec.cuda.program import function
from sparsec.cuda.tensors import FLOAT32, View
from sparsec.cuda.weights import MOST_TOKENS, SparseWeight, Weight
from sparsec.errors import InputError

Activation: TypeAlias = Literal["relu", "gelu", "silu"]

ACTIVATIONS: dict[Activation | None, int] = {None: 0, "relu": 1, "gelu": 2, "silu": 3}
_VECTOR = 8  # elements of X that a lane loads at once


class _Operands(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("streams", "heads", "offsets", "parts", "segments", "x", "y", "bias")),
        *((name, c_void_p) for name in ("partial", "counters")),
        *((name, c_longlong) for name in ("x_stride", "y_stride")),
        *((name, c_int) for name in ("m", "k", "tokens", "blocks", "steps", "segment_count", "slots")),
    )


class _Padding(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("source", "target")),
        *((name, c_longlong) for name in ("token_stride", "k_stride")),
        *((name, c_int) for name in ("tokens", "k", "padded")),
    )


def matmul(
    weight: Weight,
    x: object,
    *,
    bias: object | None = None,
    activation: Activation | None = None,
    out: object | None = None,
    stream: int | None = None,
) -> object:
    """Return y [tokens, m] = activation(x W^T + bias), rounded once, for x [tokens, k] on the weight's GPU.

    `x`, `out` (row by row; the same type as the weight) and `bias` (float32 [m]) are DLPack tensors. Without `out`, x is
    a torch tensor and so is the result. `stream` is a CUDA stream's handle; the default is torch's current stream, or
    the legacy default stream for tensors of others. To capture a call in a CUDA graph, `prepare` it before, activation and all.
    Raises `InputError`.
    """
    m, k = weight.shape
    given = _checked(tensors.view(x, "x"), weight, (None, k), "x")
    tokens = given.shape[0]
    result = out if out is not None else _like(x, (tokens, m))
    written = _checked(tensors.view(result, "out"), weight, (tokens, m), "out")
    if (written.strides[1] != 1 and m > 1) or (abs(written.strides[0]) < m and tokens > 1):
        raise InputError(
            "The output cannot be written to in place.",
            expected="contiguous rows that do not overlap",
            got=f"strides {list(written.strides)}",
        )
    added = None if bias is None else _checked(tensors.view(bias, "bias"), weight, (m,), "bias")
    number = _number_of(activation)
    on = tensors.current_stream(x, weight.device.index) if stream is None else stream
    if tokens:
        results = Results(written.address, written.strides[0], m, added.address if added else 0, number)
        launch(weight, x, given, results, on)
    return result


def prepare(weight: Weight, tokens: int, *, activation: Activation | None = None) -> None:
    """Have ready what such a product with so many tokens needs, its kernel and memory: so a CUDA graph can capture it.

    Raises `InputError` for another activation.
    """
    (m, k), number = weight.shape, _number_of(activation)
    if tokens <= 0:
        return
    on = weight.device
    buffers: list[Buffer] = []
    try:
        for columns in (k, m):
            buffers.append(on.zeros(tokens * columns * 2))
        x, y = buffers
        given = View(x.address, on.index, weight.dtype, (tokens, k), (k, 1))
        launch(weight, None, given, Results(y.address, m, m, 0, number), 0)
        on.synchronize()
    finally:
        for each in buffers:
            on.free(each)


def _number_of(activation: Activation | None) -> int:
    """By which kernels know an activation."""
    if activation not in ACTIVATIONS:
        raise InputError("There is no such activation.", expected="relu, gelu or silu", got=str(activation))
    return ACTIVATIONS[activation]


def launch(weight: Weight, caller: object, given: View, y: Results, stream: int) -> None:
    """Put a product on a stream; `caller` says where its work memory is from, as `tensors.scratch` takes it."""
    tokens, k = given.shape
    padded = -(-k // _VECTOR) * _VECTOR
    x = Rows(given.address, given.strides[0], tokens, k)
    aligned = k == padded <= x.stride and not x.stride % _VECTOR and not x.address % 16 and given.strides[1] == 1
    with tensors.scratch(caller, weight.device, 0 if aligned else tokens * padded * 2, stream) as copied:
        if not aligned:
            x = _padded(weight, given, copied, padded, stream)
        own = weight.for_many(tokens) or weight if isinstance(weight, SparseWeight) else weight
        if isinstance(own, SparseWeight):
            for first in range(0, tokens, MOST_TOKENS):
                _launch_streams(own, caller, x.part(first, MOST_TOKENS), y.part(first), stream)
        else:
            own.launch(x, y, stream)


def _launch_streams(weight: SparseWeight, caller: object, x: Rows, y: Results, stream: int) -> None:
    tiling = weight.tiling(x.tokens)
    partition = weight.streams.partition
    kernel = function(
        weight.device,
        weight.streams.kernel,
        {**weight.macros, **tiling.macros, "ACTIVATION": y.activation},
        tiling.shared_bytes,
    )
    with tensors.scratch(caller, weight.device, weight.partial_bytes(tiling), stream) as partial:
        operands = _Operands(
            *(each.address for each in (weight.units, weight.heads, weight.offsets, weight.parts, weight.segments)),
            *(x.address, y.address, y.bias, partial, weight.counters.address, x.stride, y.stride),
            *(y.m, x.k, x.tokens, partition.blocks, weight.streams.steps, partition.segments, tiling.slots),
        )
        weight.device.launch(kernel, (partition.workers, tiling.rows), 32 * WARPS, operands, stream)


def _padded(weight: Weight, x: View, address: int, padded: int, stream: int) -> Rows:
    """Copy x to rows that can be loaded from."""
    tokens, k = x.shape
    padding = _Padding(x.address, address, x.strides[0], x.strides[1], tokens, k, padded)
    macros = {"WARPS": WARPS, "HALVES": 1, "BF16": 0, "TILES": 1, "STAGES": 2, "COLUMNS": 64, "ACTIVATION": 0}
    macros |= {"UNITS": 32, "STEPS": 2}
    kernel = function(weight.device, "pad_rows", macros, 0)
    weight.device.launch(kernel, (min(1024, -(-tokens * padded // 256)), 1), 256, padding, stream)
    return Rows(address, padded, tokens, padded)


def _checked(found: View, weight: Weight, shape: tuple[int | None, ...], what: str) -> View:
    dtype = FLOAT32 if what == "bias" else weight.dtype
    fits = len(found.shape) == len(shape) and all(
        each is None or each == got for each, got in zip(shape, found.shape, strict=True)
    )
    if not fits or found.dtype != dtype or found.device != weight.device.index:
        wanted = ", ".join("tokens" if each is None else str(each) for each in shape)
        raise InputError(
            f"{what} has the wrong shape, type or device.",
            expected=f"{dtype}[{wanted}] on GPU {weight.device.index}",
            got=f"{found.dtype}[{', '.join(map(str, found.shape))}] on GPU {found.device}",
        )
    if what == "bias" and found.strides[0] != 1 and found.shape[0] > 1:
        raise InputError("The bias is not contiguous.", expected="stride 1", got=f"stride {found.strides[0]}")
    return found


def _like(x: object, shape: tuple[int, int]) -> object:
    make = getattr(x, "new_empty", None)
    if make is None:
        raise InputError("There is nowhere to put the result.", next_step="pass out=, a tensor [tokens, m]")
    made: object = make(shape)
    return made
