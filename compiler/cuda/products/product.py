"""`matmul`: Y = X W^T with a sparse W on a GPU, launched on the caller's stream."""

from __future__ import annotations

import ctypes
import sys
from ctypes import c_int, c_longlong, c_void_p
from typing import Literal, TypeAlias

from sparsec.cuda.code.program import function
from sparsec.cuda.device import tensors
from sparsec.cuda.device.driver import Buffer
from sparsec.cuda.device.tensors import FLOAT8, FLOAT32, View
from sparsec.cuda.products import nm24_tile_mma
from sparsec.cuda.products.compressed_weight import CompressedWeight
from sparsec.cuda.products.cublas import WORKSPACE_BYTES
from sparsec.cuda.products.dense import DenseWeight
from sparsec.cuda.products.dense_operands import Epilogue, Matrices
from sparsec.cuda.products.nm24_tile_mma import StreamTiling, stream_tiling
from sparsec.cuda.products.nm24_wgmma import Nm24Wgmma
from sparsec.cuda.products.operands import Results, Rows
from sparsec.cuda.products.sparse_weight import MOST_TOKENS, SparseWeight
from sparsec.cuda.products.spmv import SpmvWeight
from sparsec.cuda.products.weights import Weight
from sparsec.cuda.streams.factors import Factors
from sparsec.cuda.streams.partition import WARPS
from sparsec.errors import InputError

Activation: TypeAlias = Literal["relu", "gelu", "silu", "relu6"]

ACTIVATIONS: dict[Activation | None, int] = {None: 0, "relu": 1, "gelu": 2, "silu": 3, "relu6": 4}
FIRST = 8  # more than an activation's number, for what is added before it
_VECTOR_BYTES = 16  # of X, that a lane loads at once


class _Operands(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("streams", "heads", "offsets", "parts", "segments", "x", "y", "bias")),
        *((name, c_void_p) for name in ("residual", "row_scales", "token_scales", "partial", "counters")),
        *((name, c_longlong) for name in ("x_stride", "y_stride", "residual_stride")),
        *((name, c_int) for name in ("m", "k", "tokens", "blocks", "steps", "segment_count", "slots", "workers")),
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
    residual: object | None = None,
    scales: object | None = None,
    out: object | None = None,
    stream: int | None = None,
) -> object:
    """Return y [tokens, m] = activation(x W^T + bias) + residual, rounded once, for x [tokens, k] on the weight's GPU.

    Of elements of eight bits (x as the weight; of float8 also its bits as uint8), x W^T is times the scales of the
    weight's rows and `scales` of x's tokens, float32 [tokens]; without them these are ones.

    `x`, `residual`, `out` (these row by row; the same type as the weight) and `bias` (float32 [m]) are DLPack tensors;
    `out` may be `residual` itself. Without `out`, x is
    a torch tensor and so is the result. `stream` is a CUDA stream's handle; the default is torch's current stream, or
    the legacy default stream for tensors of others. To capture a call in a CUDA graph, `prepare` it before, activation and all.
    Raises `InputError`.
    """
    m, k = weight.shape
    given = _checked(tensors.view(_exported(x), "x"), weight, (None, k), "x")
    tokens = given.shape[0]
    result = out if out is not None else _like(x, (tokens, m), weight.dtype)
    written = _checked(tensors.view(result, "out"), weight, (tokens, m), "out")
    if (written.strides[1] != 1 and m > 1) or (abs(written.strides[0]) < m and tokens > 1):
        raise InputError(
            "The output cannot be written to in place.",
            expected="contiguous rows that do not overlap",
            got=f"strides {list(written.strides)}",
        )
    more = None if residual is None else _checked(tensors.view(residual, "residual"), weight, (tokens, m), "residual")
    if more is not None and more.strides[1] != 1 and m > 1:
        raise InputError(
            "The residual's rows are not contiguous.", expected="stride 1", got=f"strides {list(more.strides)}"
        )
    added = None if bias is None else _checked(tensors.view(bias, "bias"), weight, (m,), "bias")
    if scales is not None and not _factors(weight).kind:
        raise InputError("Only tokens of eight bits have scales.", got=given.dtype)
    scaled = None if scales is None else _checked(tensors.view(scales, "scales"), weight, (tokens,), "scales")
    number = _number_of(activation)
    on = tensors.current_stream(x, weight.device.index) if stream is None else stream
    if tokens:
        results = Results(
            *(written.address, written.strides[0], m, added.address if added else 0, number),
            *((more.address, more.strides[0]) if more else (0, 0)),
            scaled.address if scaled else 0,
        )
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
        given = View(x.address, on.index, _factors(weight).dtype, (tokens, k), (k, 1))
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
    size = _factors(weight).size
    vector = _VECTOR_BYTES // size
    padded, stride = -(-k // vector) * vector, given.strides[0]
    aligned = k == padded <= stride and not stride % vector and not given.address % 16 and given.strides[1] == 1
    with tensors.scratch(caller, weight.device, 0 if aligned else tokens * padded * size, stream) as copied:
        if not aligned:
            _pad(weight, given, copied, padded, stream)
        # Two elements of eight bits count as one of 16.
        x = Rows(
            given.address if aligned else copied,
            (stride if aligned else padded) * size // 2,
            tokens,
            padded * size // 2,
        )
        match weight.form(tokens) if isinstance(weight, CompressedWeight) else weight:
            case SparseWeight() as own:
                _launch_pieces(own, caller, x, y, stream)
            case SpmvWeight() as own:
                own.launch(caller, x, y, stream)
            case DenseWeight() as own:
                _launch_dense(own, caller, x, y, stream)
            case own:
                own.launch(x, y, stream)


def _launch_dense(weight: DenseWeight, caller: object, x: Rows, y: Results, stream: int) -> None:
    residual = Matrices(y.residual, y.residual_stride) if y.residual else None
    epilogue = Epilogue(y.bias, y.activation % FIRST, residual, y.activation >= FIRST)
    given, result = Rows(x.address, x.stride, x.tokens, weight.k), Matrices(y.address, y.stride)
    kernel = weight.kernels(given, result, epilogue)[0]
    with tensors.scratch(caller, weight.device, WORKSPACE_BYTES if kernel == "cublas" else 0, stream) as workspace:
        weight.launch(given, result, stream, epilogue=epilogue, kernel=kernel, workspace=workspace)


def _launch_pieces(weight: SparseWeight, caller: object, x: Rows, y: Results, stream: int) -> None:
    if tiling := stream_tiling(weight.streams, x.tokens, weight.device.shared_bytes):
        _launch_tiles(weight, x, y, tiling, stream)
        return
    for first in range(0, x.tokens, MOST_TOKENS):
        _launch_streams(weight, caller, x.part(first, MOST_TOKENS), y.part(first), stream)


def _launch_tiles(weight: SparseWeight, x: Rows, y: Results, tiling: StreamTiling, stream: int) -> None:
    macros = {**weight.macros, **tiling.macros, "ACTIVATION": y.activation}
    kernel = function(weight.device, nm24_tile_mma.KERNEL, macros, tiling.shared_bytes)
    weight.device.launch(kernel, tiling.grid, nm24_tile_mma.THREADS, _operands(weight, x, y, 0, 0), stream)


def _launch_streams(weight: SparseWeight, caller: object, x: Rows, y: Results, stream: int) -> None:
    tiling = weight.tiling(x.tokens)
    workers = weight.streams.partition.workers
    macros = {**weight.macros, **tiling.macros, "ACTIVATION": y.activation}
    kernel = function(weight.device, weight.streams.kernel, macros, tiling.shared_bytes)
    with tensors.scratch(caller, weight.device, weight.partial_bytes(tiling), stream) as partial:
        operands = _operands(weight, x, y, partial, tiling.slots)
        weight.device.launch(kernel, (workers, tiling.rows), 32 * WARPS, operands, stream)


def _operands(weight: SparseWeight, x: Rows, y: Results, partial: int, slots: int) -> _Operands:
    partition = weight.streams.partition
    return _Operands(
        *(each.address for each in (weight.units, weight.heads, weight.offsets, weight.parts, weight.segments)),
        *(x.address, y.address, y.bias, y.residual, weight.scales.address if weight.scales else 0, y.token_scales),
        *(partial, weight.counters.address, x.stride, y.stride, y.residual_stride),
        *(y.m, x.k, x.tokens, partition.blocks, weight.streams.steps, partition.segments, slots, partition.workers),
    )


def _pad(weight: Weight, x: View, address: int, padded: int, stream: int) -> None:
    """Copy x to rows that can be loaded from."""
    tokens, k = x.shape
    padding = _Padding(x.address, address, x.strides[0], x.strides[1], tokens, k, padded)
    macros = {"WARPS": WARPS, "HALVES": 1, "BF16": 0, "TILES": 1, "STAGES": 2, "COLUMNS": 64, "ACTIVATION": 0}
    macros |= {"UNITS": 32, "KIND": _factors(weight).kind}
    kernel = function(weight.device, "pad_rows", macros, 0)
    weight.device.launch(kernel, (min(1024, -(-tokens * padded // 256)), 1), 256, padding, stream)


def _checked(found: View, weight: Weight, shape: tuple[int | None, ...], what: str) -> View:
    dtype = FLOAT32 if what in ("bias", "scales") else _factors(weight).dtype if what == "x" else weight.dtype
    fits = len(found.shape) == len(shape) and all(
        each is None or each == got for each, got in zip(shape, found.shape, strict=True)
    )
    if (
        not fits
        or found.dtype not in (dtype, "uint8" if dtype == FLOAT8 else dtype)
        or found.device != weight.device.index
    ):
        wanted = ", ".join("tokens" if each is None else str(each) for each in shape)
        raise InputError(
            f"{what} has the wrong shape, type or device.",
            expected=f"{dtype}[{wanted}] on GPU {weight.device.index}",
            got=f"{found.dtype}[{', '.join(map(str, found.shape))}] on GPU {found.device}",
        )
    if dtype == FLOAT32 and found.strides[0] != 1 and found.shape[0] > 1:
        raise InputError(f"{what} is not contiguous.", expected="stride 1", got=f"stride {found.strides[0]}")
    return found


def _factors(weight: Weight) -> Factors:
    """Of x and the weight."""
    return weight.factors if isinstance(weight, CompressedWeight | SparseWeight | Nm24Wgmma) else Factors(weight.dtype)


def _exported(x: object) -> object:
    """x, or the bits of torch's float8, which has no DLPack in some versions."""
    torch = sys.modules.get("torch")
    return x.view(torch.uint8) if torch and isinstance(x, torch.Tensor) and x.dtype == torch.float8_e4m3fn else x


def _like(x: object, shape: tuple[int, int], dtype: str) -> object:
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(x, torch.Tensor):
        raise InputError("There is nowhere to put the result.", next_step="pass out=, a tensor [tokens, m]")
    return x.new_empty(shape, dtype=getattr(torch, dtype))
