"""Sparse weights on a GPU: from a matrix on the host to the streams that a kernel reads."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.device.driver import Device, device
from sparsec.cuda.device.tensors import BFLOAT16, FLOAT8, FLOAT16, INT8
from sparsec.cuda.products import coo_wgmma, nm24_wgmma, spmv
from sparsec.cuda.products.bsr_pairs_wgmma import BsrPairsWgmma
from sparsec.cuda.products.bsr_wgmma import BsrWgmma
from sparsec.cuda.products.coo_wgmma import CooWgmma
from sparsec.cuda.products.device_cost import Kernel, Processor, sparse_microseconds
from sparsec.cuda.products.nm24_wgmma import Nm24Wgmma
from sparsec.cuda.products.sparse_weight import SparseWeight, Streams
from sparsec.cuda.products.spmv import SpmvWeight
from sparsec.cuda.streams import bank_streams, coo_streams, patterns
from sparsec.cuda.streams.bank_streams import BankStreams
from sparsec.cuda.streams.bsr_pairs import BlockPairs
from sparsec.cuda.streams.bsr_steps import BlockSteps
from sparsec.cuda.streams.coo_streams import CooStreams
from sparsec.cuda.streams.factors import Factors
from sparsec.cuda.streams.lane_streams import LaneStreams
from sparsec.cuda.streams.nm24_byte_streams import Nm24ByteStreams
from sparsec.cuda.streams.nm24_streams import Nm24Streams
from sparsec.cuda.streams.nm24_tiles import Nm24Tiles
from sparsec.cuda.streams.patterns import Blocks, Groups, Unstructured
from sparsec.cuda.streams.spmv_streams import SpmvStreams
from sparsec.cuda.streams.w4_group_streams import SIDE, W4GroupStreams
from sparsec.cuda.streams.w4_nm24_streams import Numbers, Scales, W4Nm24Streams, quantize
from sparsec.errors import InputError, TargetError

Pattern: TypeAlias = str  # as `patterns.parse` takes it
Encoded: TypeAlias = Streams | BlockSteps | BlockPairs | SpmvStreams | Nm24Tiles | BankStreams


PAIRED = 0.8  # of what pairs of blocks are multiplied by, that is not nothing but zeros, for which pairs are the faster
FLOAT8_ARCHITECTURE = (8, 9)  # the first that has products of it
MULTIPROCESSORS, SHARED_BYTES = 132, 227 << 10  # of an H100, for a weight that is compressed where there is no GPU


BlockWeight: TypeAlias = BsrWgmma | BsrPairsWgmma
Weight: TypeAlias = SparseWeight | Nm24Wgmma | BlockWeight | SpmvWeight | CooWgmma


def compress(
    weight: object,
    pattern: Pattern = "unstructured",
    *,
    tokens: Sequence[int] = (),
    scales: NDArray[np.float32] | None = None,
    out: str = FLOAT16,
    gpu: int = 0,
) -> Weight:
    """Compress a matrix [m, k] and copy it to a GPU.

    `weight` is a NumPy array of float16 or ml_dtypes.bfloat16, or a torch tensor of float16 or bfloat16; for "2:4" also of
    int8 or float8_e4m3fn, with `scales` of its rows (float32 [m]; without them ones), X then of the same type, Y of type
    `out`. `pattern` is as `sparsec.cuda.streams.patterns` says; other N:M than 2:4 are multiplied as unstructured for few tokens, as
    2:4 for many where they are. Of an unstructured weight whose products will have these numbers of `tokens`, there is only
    what is fastest for them; without them, what products of few tokens need is added when they come. Raises `ModelError`
    if it has not the pattern, `InputError` for another type or pattern, `TargetError` if the GPU cannot be used for it.
    """
    bits, dtype = _bits(weight)
    if dtype not in (INT8, FLOAT8):
        if scales is not None:
            raise InputError("Only weights of eight bits have scales.", got=dtype)
        return placed(bits, dtype, pattern, device(gpu), tokens)
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
    return SparseWeight(Nm24ByteStreams.encode(bits.view(np.uint8), on.multiprocessors), out, on, Factors(dtype, rows))


def placed(bits: NDArray[np.uint16], dtype: str, pattern: Pattern, on: Device, tokens: Sequence[int] = ()) -> Weight:
    """Compress a matrix given as its bits and copy it to a GPU; takes and raises what `compress` does."""
    kind, encoded = patterns.parse(pattern), encoded_for(bits, pattern, on, tokens)
    weight = on_gpu(encoded, dtype, on)
    on_hopper = on.architecture == nm24_wgmma.ARCHITECTURE
    many = isinstance(kind, Groups) and kind.two_of_four and on_hopper and not isinstance(encoded, Nm24Streams)
    if many and isinstance(weight, SparseWeight):
        weight.tiled = Nm24Wgmma(Nm24Tiles.encode(bits), dtype, on)
    return weight


def encoded_for(bits: NDArray[np.uint16], pattern: Pattern, on: Device, tokens: Sequence[int] = ()) -> Encoded:
    """What is copied to such a GPU of a matrix given as its bits; takes and raises what `compress` does."""
    kind = patterns.parse(pattern)
    on_hopper = on.architecture == nm24_wgmma.ARCHITECTURE
    if isinstance(kind, Blocks) and kind.large and not on_hopper:
        raise TargetError(
            "There are no kernels for block-sparse weights for this GPU.",
            expected="compute capability 9.0",
            got=f"{on.name}, {on.architecture[0]}.{on.architecture[1]}",
            next_step='compress it as "unstructured"',
        )
    if isinstance(kind, Unstructured) and tokens:
        m, k = bits.shape
        kernel = fastest(m, k, int(np.count_nonzero(bits << 1)), tokens, on)
        if kernel in ("spmv", "spmv_ordered") and spmv.fits(k, on.shared_bytes):
            return spmv.encoded(bits, on, ordered=kernel == "spmv_ordered")
        if kernel == "coo_wgmma" and (banks := BankStreams.encode(bits, on.multiprocessors)).even:
            return banks
    return encode(bits, pattern, on.multiprocessors, on.shared_bytes)


def on_gpu(encoded: Encoded, dtype: str, on: Device) -> Weight:
    """Copy what was encoded to a GPU, for its kernel."""
    match encoded:
        case SpmvStreams():
            return SpmvWeight(encoded, dtype, on)
        case Nm24Tiles():
            return Nm24Wgmma(encoded, dtype, on)
        case BankStreams():
            return CooWgmma(encoded, dtype, on)
        case BlockSteps():
            return BsrWgmma(encoded, dtype, on)
        case BlockPairs():
            return BsrPairsWgmma(encoded, dtype, on)
        case _:
            return SparseWeight(encoded, dtype, on)


def fastest(m: int, k: int, nnz: int, tokens: Sequence[int], on: Processor) -> Kernel:
    """For products of an unstructured weight [m, k] with these numbers of tokens, by the cost model."""
    dense_enough = nnz > coo_streams.DENSEST * m * k
    kernels: list[Kernel] = ["bitmap_mma" if dense_enough else "coo_mma", "spmv", "spmv_ordered"]
    if on.architecture == coo_wgmma.ARCHITECTURE and nnz <= bank_streams.DENSEST * m * k:
        kernels.append("coo_wgmma")
    return min(kernels, key=lambda kernel: sum(sparse_microseconds(kernel, m, k, nnz, each, on) for each in tokens))


def compress_int4(weight: object, pattern: Pattern = "2:4", *, gpu: int = 0) -> SparseWeight:
    """Compress a matrix, its values rounded to four bits with a scale for each row and 128 columns.

    Takes patterns as `compress_quantized`, and takes and raises what `compress` does.
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
) -> SparseWeight:
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
    return SparseWeight(kind.encode(numbers, scales, on.multiprocessors), dtype, on)


def encode(
    bits: NDArray[np.uint16], pattern: Pattern, workers: int = MULTIPROCESSORS, shared_bytes: int = SHARED_BYTES
) -> Encoded:
    """What is copied to a GPU with so many multiprocessors, of a matrix given as its bits; needs no GPU."""
    match patterns.parse(pattern):
        case Blocks() as kind if kind.large:
            return _blocks(bits, workers)
        case Groups(n=2, m=4, rows=1):
            return Nm24Streams.encode(bits, workers)
        case Groups() as kind:
            patterns.check(bits, kind)
            return _unstructured(bits, workers, shared_bytes)
        case Unstructured() | Blocks():
            return _unstructured(bits, workers, shared_bytes)


def _blocks(bits: NDArray[np.uint16], workers: int) -> BlockSteps | BlockPairs:
    """By strips of 32 rows, or by pairs of them where these have blocks in the same columns."""
    pairs = BlockPairs.encode(bits)
    return pairs if pairs.fullness >= PAIRED else BlockSteps.encode(bits, workers)


def _unstructured(bits: NDArray[np.uint16], workers: int, shared_bytes: int) -> LaneStreams | CooStreams:
    if np.count_nonzero(bits << 1) <= coo_streams.DENSEST * bits.size:
        made = CooStreams.encode(bits, workers, 4 if shared_bytes >= SHARED_BYTES else 2)
        if made.even:
            return made
    return LaneStreams.encode(bits, workers, shared_bytes)


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
