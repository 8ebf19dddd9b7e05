"""Sparse weights on a GPU: from a matrix on the host to the streams that a kernel reads."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.device.driver import device
from sparsec.cuda.device.tensors import BFLOAT16, FLOAT8, FLOAT16, INT8
from sparsec.cuda.products import compressed_weight
from sparsec.cuda.products.compressed_weight import CompressedWeight
from sparsec.cuda.products.form import Form
from sparsec.cuda.streams import patterns
from sparsec.cuda.streams.factors import Factors
from sparsec.cuda.streams.four_bits import Numbers, Scales, quantize
from sparsec.cuda.streams.patterns import Blocks, Groups
from sparsec.cuda.streams.w4_group_streams import SIDE, W4GroupStreams
from sparsec.cuda.streams.w4_nm24_streams import W4Nm24Streams
from sparsec.errors import InputError, TargetError

Pattern: TypeAlias = str  # as `patterns.parse` takes it
Weight: TypeAlias = CompressedWeight | Form

FLOAT8_ARCHITECTURE = (8, 9)  # the first that has products of it


def compress(
    weight: object,
    pattern: Pattern = "unstructured",
    *,
    tokens: Sequence[int] = (),
    scales: NDArray[np.float32] | None = None,
    out: str = FLOAT16,
    gpu: int = 0,
) -> CompressedWeight:
    """Compress a matrix [m, k] and copy it to a GPU.

    `weight` is a NumPy array of float16 or ml_dtypes.bfloat16, or a torch tensor of float16 or bfloat16; for "2:4" also of
    int8 or float8_e4m3fn, with `scales` of its rows (float32 [m]; without them ones), X then of the same type, Y of type
    `out`. `pattern` is as `sparsec.cuda.streams.patterns` says: the matrix is checked for it. Whatever it is, products are done
    by the kernel that is predicted to be the fastest for the zeros that there are and the number of tokens, or by a dense one;
    what it reads is made and copied by the first such product, or here for these numbers of `tokens` (`CompressedWeight`).
    Raises `ModelError` if it has not the pattern, `InputError` for another type or pattern, `TargetError` if the GPU cannot be
    used for it.
    """
    bits, dtype = _bits(weight)
    if dtype not in (INT8, FLOAT8):
        if scales is not None:
            raise InputError("Only weights of eight bits have scales.", got=dtype)
        if isinstance(kind := patterns.parse(pattern), Groups):
            patterns.check(bits, kind)
        made = compressed_weight.of_halves(bits, dtype, device(gpu))
        for each in tokens:
            made.form(each)
        return made
    if pattern != "2:4" or out not in (FLOAT16, BFLOAT16):
        raise InputError(
            "There are no such products of eight bits.",
            expected=f'pattern="2:4", out="{FLOAT16}" or "{BFLOAT16}"',
            got=f'{dtype}, pattern="{pattern}", out="{out}"',
        )
    rows = np.ones(len(bits), dtype=np.float32) if scales is None else np.ascontiguousarray(scales, dtype=np.float32)
    if rows.shape != (len(bits),):
        raise InputError("There is a scale for each row.", expected=f"[{len(bits)}]", got=str(list(rows.shape)))
    on = device(gpu)
    if dtype == FLOAT8 and on.architecture < FLOAT8_ARCHITECTURE:
        raise TargetError(
            "This GPU has no products of float8.",
            expected="compute capability 8.9 or later",
            got=f"{on.name}, {on.architecture[0]}.{on.architecture[1]}",
            next_step="use int8 or float16",
        )
    return compressed_weight.of_bytes(bits.view(np.uint8), Factors(dtype, rows), out, on)


def compress_int4(weight: object, pattern: Pattern = "2:4", *, gpu: int = 0) -> CompressedWeight:
    """Compress a matrix, its values rounded to four bits with a scale for each row and 128 columns.

    For so many tokens that a dense product is the faster, they are then rounded to 16 bits once more. Takes patterns as
    `compress_quantized`, and takes and raises what `compress` does.
    """
    bits, dtype = _bits(weight)
    if dtype in (INT8, FLOAT8):
        raise InputError(
            "Only 16-bit weights are rounded to four bits.", expected=f"{FLOAT16} or {BFLOAT16}", got=dtype
        )
    values = bits.view(np.float16 if dtype == FLOAT16 else ml_dtypes.bfloat16).astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError("Infinity and NaN have no four bits.", got=f"{np.count_nonzero(~np.isfinite(values))} of them")
    return compress_quantized(*quantize(values), dtype, pattern, gpu=gpu)


def compress_quantized(
    numbers: Numbers, scales: Scales, dtype: str = FLOAT16, pattern: Pattern = "2:4", *, gpu: int = 0
) -> CompressedWeight:
    """Compress a matrix of four bits that was quantised already, for X and Y of float16 or bfloat16.

    `numbers` is int8 [m, k], from -8 to 7, `scales` float32 [m, groups of 128 columns]. `pattern` is "2:4" or "block:1x16":
    of each row, each 16 columns with a number that is not zero are kept (so any matrix has it). Raises what `compress` does.
    """
    if dtype not in (FLOAT16, BFLOAT16):
        raise InputError("There are no products of this type.", expected=f"{FLOAT16} or {BFLOAT16}", got=dtype)
    match patterns.parse(pattern):
        case Groups(n=2, m=4, rows=1):
            kind: type[W4Nm24Streams | W4GroupStreams] = W4Nm24Streams
        case Blocks(rows=1, columns=columns) if columns == SIDE:
            kind = W4GroupStreams
        case _:
            raise InputError(
                "There are no products of four bits for this pattern.", expected=f"2:4 or block:1x{SIDE}", got=pattern
            )
    on = device(gpu)
    streams = kind.encode(numbers, scales, on.multiprocessors)
    return compressed_weight.of_four_bits(streams, int(np.count_nonzero(numbers)), dtype, on)


# Types of weights, and the unsigned integers of their bits.
_TYPES: Mapping[np.dtype[np.generic], tuple[str, type[np.unsignedinteger]]] = {
    np.dtype(np.float16): (FLOAT16, np.uint16),
    np.dtype(ml_dtypes.bfloat16): (BFLOAT16, np.uint16),
    np.dtype(np.int8): (INT8, np.uint8),
    np.dtype(ml_dtypes.float8_e4m3fn): (FLOAT8, np.uint8),
}


def _bits(weight: object) -> tuple[NDArray[np.uint16], str]:
    array = weight if isinstance(weight, np.ndarray) else _from_torch(weight)
    if array.ndim != 2 or not array.size or array.dtype not in _TYPES:
        raise InputError(
            "This is not a weight that can be compressed.",
            expected="a matrix of float16 or bfloat16, or of int8 or float8_e4m3fn",
            got=f"{array.dtype}[{', '.join(map(str, array.shape))}]",
        )
    name, unsigned = _TYPES[array.dtype]
    bits = np.ascontiguousarray(array).view(unsigned)
    return np.where(bits == 0x80, np.uint8(0), bits) if name == FLOAT8 else bits, name  # of its zeros one is enough


def _from_torch(weight: object) -> NDArray[np.generic]:
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(weight, torch.Tensor):
        raise InputError("A weight is a NumPy array or a torch tensor.", got=type(weight).__name__)
    kinds = {getattr(torch, name): dtype for dtype, (name, _) in _TYPES.items()}
    if weight.dtype not in kinds or weight.layout != torch.strided or weight.is_meta:
        raise InputError(
            "This is not a weight that can be compressed.",
            expected="a dense tensor of float16 or bfloat16, or of int8 or float8_e4m3fn",
            got=f"{weight.dtype}, {weight.layout} on {weight.device}",
        )
    dtype = kinds[weight.dtype]
    whole = weight.detach().cpu().contiguous().view(torch.int16 if dtype.itemsize == 2 else torch.int8)
    bits: NDArray[np.generic] = whole.numpy()
    return bits.view(dtype)
