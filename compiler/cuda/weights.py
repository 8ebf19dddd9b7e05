"""Sparse weights on a GPU: from a matrix on the host to the streams that a kernel reads."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeAlias, get_args

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from sparsec.cuda import coo_streams, nm24_wgmma
from sparsec.cuda.bsr_steps import BlockSteps
from sparsec.cuda.bsr_wgmma import BsrWgmma
from sparsec.cuda.coo_streams import CooStreams
from sparsec.cuda.driver import Device, device
from sparsec.cuda.lane_streams import LaneStreams
from sparsec.cuda.memory import Memory
from sparsec.cuda.nm24_streams import Nm24Streams
from sparsec.cuda.nm24_tiles import Nm24Tiles
from sparsec.cuda.nm24_wgmma import Nm24Wgmma
from sparsec.cuda.partition import WARPS
from sparsec.cuda.tensors import BFLOAT16, FLOAT16
from sparsec.cuda.w4_nm24_streams import Numbers, Scales, W4Nm24Streams, quantize
from sparsec.errors import InputError, TargetError

Pattern: TypeAlias = Literal["unstructured", "2:4", "block:32x32"]
Streams: TypeAlias = LaneStreams | CooStreams | Nm24Streams | W4Nm24Streams
Encoded: TypeAlias = Streams | BlockSteps

FEW = 32  # tokens, up to which streams are the fastest for 2:4

TILES = (1, 2, 4, 8)  # of 8 tokens, that a warp can have sums for
MOST_TOKENS = 128  # that one launch does
COLUMNS = (256, 128)  # of a tile of X, the best first
DEPTHS = ((4, 4), (3, 4), (4, 3), (3, 3), (2, 4), (2, 3), (2, 2))  # steps of W and tiles of X in shared memory
MULTIPROCESSORS, SHARED_BYTES = 132, 227 << 10  # of an H100, for a weight that is compressed where there is no GPU


@dataclass(frozen=True, slots=True)
class Tiling:
    """Of a product: `tiles` of 8 tokens that a block of threads does, in so many rows of blocks; so many `steps` of W
    and `stages` of X, tiles of so many `columns`, are in shared memory, with `slots` for values in each warp."""

    tiles: int
    rows: int
    steps: int
    stages: int
    columns: int
    slots: int
    shared_bytes: int

    @property
    def macros(self) -> Mapping[str, int]:
        """What a kernel is to be compiled with for it."""
        return {"TILES": self.tiles, "STEPS": self.steps, "STAGES": self.stages, "COLUMNS": self.columns}


class SparseWeight:
    """A matrix W [m, k] of float16 or bfloat16 on one GPU, for `matmul`.

    Products with one weight must be in one order (one stream, or streams that wait): they share the weight's counters.
    """

    def __init__(self, streams: Streams, dtype: str, on: Device) -> None:
        self.streams = streams
        self.dtype = dtype
        self.device = on
        partition = streams.partition
        tables = streams.offsets, partition.worker_table(), partition.block_table()
        arrays = (streams.units, partition.heads(streams.offsets), *tables)
        self._memory = Memory(self, on)
        self.units, self.heads, self.offsets, self.parts, self.segments = (
            self._memory.upload(array) for array in arrays
        )
        self.counters = self._memory.upload(np.zeros(partition.blocks * partition.groups * MOST_TOKENS // 8, np.uint32))
        self._tiled: Nm24Wgmma | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.streams.m, self.streams.k

    @property
    def macros(self) -> Mapping[str, int]:
        """What the kernel is to be compiled with for this weight."""
        halves = self.streams.partition.halves
        return {"WARPS": WARPS, "HALVES": halves, "BF16": int(self.dtype == BFLOAT16), **self.streams.macros}

    def tiling(self, tokens: int) -> Tiling:
        """How a product with so many tokens is cut up; raises `TargetError`."""
        wanted = next((each for each in TILES if tokens <= 8 * each), TILES[-1])
        for tiles in (each for each in reversed(TILES) if each <= wanted):
            rows = -(-tokens // (8 * tiles))
            for (steps, stages), columns in product(DEPTHS, COLUMNS):
                x_bytes = stages * (16 + tiles * 8 * 2 * columns)
                w_bytes, slots = self.streams.block_bytes(steps, tiles)
                if columns >= self.streams.step and x_bytes + w_bytes <= self.device.shared_bytes:
                    return Tiling(tiles, rows, steps, stages, columns, slots, x_bytes + w_bytes)
        raise TargetError(
            "This weight needs more shared memory than the GPU has.",
            expected=f"at most {self.device.shared_bytes} bytes in a block",
            got=f"{x_bytes + w_bytes} bytes",
        )

    def for_many(self, tokens: int) -> Nm24Wgmma | None:
        """The same matrix for many tokens, if there is a kernel for that; encoded and copied at the first use."""
        if tokens <= FEW or not isinstance(self.streams, Nm24Streams):
            return None
        if self.device.architecture != nm24_wgmma.ARCHITECTURE:
            return None
        if self._tiled is None:
            self._tiled = Nm24Wgmma(Nm24Tiles.encode(self.streams.decode()), self.dtype, self.device)
        return self._tiled

    def partial_bytes(self, tiling: Tiling) -> int:
        """Of the sums of parts of rows, for a product so cut up."""
        partition = self.streams.partition
        return partition.segments * partition.rows * tiling.tiles * tiling.rows * 8 * 4


Weight: TypeAlias = SparseWeight | Nm24Wgmma | BsrWgmma


def compress(weight: object, pattern: Pattern = "unstructured", *, gpu: int = 0) -> SparseWeight | BsrWgmma:
    """Compress a matrix [m, k] and copy it to a GPU.

    `weight` is a NumPy array of float16 or ml_dtypes.bfloat16, or a torch tensor of float16 or bfloat16. Of
    "block:32x32", each 32 x 32 that has a nonzero is kept; larger blocks are several of these. Raises `ModelError` if it
    has not the pattern, `InputError` for another type, `TargetError` if the GPU cannot be used for it.
    """
    return placed(*_bits(weight), pattern, device(gpu))


def placed(bits: NDArray[np.uint16], dtype: str, pattern: Pattern, on: Device) -> SparseWeight | BsrWgmma:
    """Compress a matrix given as its bits and copy it to a GPU; raises what `compress` does."""
    if pattern == "block:32x32" and on.architecture != nm24_wgmma.ARCHITECTURE:
        raise TargetError(
            "There are no kernels for block-sparse weights for this GPU.",
            expected="compute capability 9.0",
            got=f"{on.name}, {on.architecture[0]}.{on.architecture[1]}",
            next_step='compress it as "unstructured"',
        )
    encoded = encode(bits, pattern, on.multiprocessors, on.shared_bytes)
    return BsrWgmma(encoded, dtype, on) if isinstance(encoded, BlockSteps) else SparseWeight(encoded, dtype, on)


def compress_int4(weight: object, *, gpu: int = 0) -> SparseWeight:
    """Compress a 2:4 matrix, its values rounded to four bits with a scale for each row and 128 columns.

    Takes and raises what `compress` does.
    """
    bits, dtype = _bits(weight)
    values = bits.view(np.float16 if dtype == FLOAT16 else ml_dtypes.bfloat16).astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError("Infinity and NaN have no four bits.", got=f"{np.count_nonzero(~np.isfinite(values))} of them")
    return compress_quantized(*quantize(values), dtype, gpu=gpu)


def compress_quantized(numbers: Numbers, scales: Scales, dtype: str = FLOAT16, *, gpu: int = 0) -> SparseWeight:
    """Compress a 2:4 matrix of four bits that was quantised already, for X and Y of float16 or bfloat16.

    `numbers` is int8 [m, k], from -8 to 7, `scales` float32 [m, groups of 128 columns]. Raises what `compress` does.
    """
    if dtype not in (FLOAT16, BFLOAT16):
        raise InputError("There are no products of this type.", expected=f"{FLOAT16} or {BFLOAT16}", got=dtype)
    on = device(gpu)
    return SparseWeight(W4Nm24Streams.encode(numbers, scales, on.multiprocessors), dtype, on)


def encode(
    bits: NDArray[np.uint16], pattern: Pattern, workers: int = MULTIPROCESSORS, shared_bytes: int = SHARED_BYTES
) -> Encoded:
    """What is copied to a GPU with so many multiprocessors, of a matrix given as its bits; needs no GPU."""
    match pattern:
        case "unstructured":
            return _unstructured(bits, workers, shared_bytes)
        case "2:4":
            return Nm24Streams.encode(bits, workers)
        case "block:32x32":
            return BlockSteps.encode(bits)
        case _:
            raise InputError("There is no such pattern.", expected=", ".join(get_args(Pattern)), got=str(pattern))


def _unstructured(bits: NDArray[np.uint16], workers: int, shared_bytes: int) -> LaneStreams | CooStreams:
    if np.count_nonzero(bits << 1) <= coo_streams.DENSEST * bits.size:
        made = CooStreams.encode(bits, workers, 4 if shared_bytes >= SHARED_BYTES else 2)
        if made.even:
            return made
    return LaneStreams.encode(bits, workers)


def _bits(weight: object) -> tuple[NDArray[np.uint16], str]:
    array = weight if isinstance(weight, np.ndarray) else _from_torch(weight)
    names = {np.dtype(np.float16): FLOAT16, np.dtype(ml_dtypes.bfloat16): BFLOAT16}
    if array.ndim != 2 or not array.size or array.dtype not in names:
        raise InputError(
            "This is not a weight that can be compressed.",
            expected="a matrix of float16 or bfloat16",
            got=f"{array.dtype}[{', '.join(map(str, array.shape))}]",
        )
    return np.ascontiguousarray(array).view(np.uint16), names[array.dtype]


def _from_torch(weight: object) -> NDArray[np.generic]:
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(weight, torch.Tensor):
        raise InputError("A weight is a NumPy array or a torch tensor.", got=type(weight).__name__)
    kinds = {torch.float16: np.dtype(np.float16), torch.bfloat16: np.dtype(ml_dtypes.bfloat16)}
    if weight.dtype not in kinds or weight.layout != torch.strided or weight.is_meta:
        raise InputError(
            "This is not a weight that can be compressed.",
            expected="a dense tensor of float16 or bfloat16",
            got=f"{weight.dtype}, {weight.layout} on {weight.device}",
        )
    bits: NDArray[np.int16] = weight.detach().cpu().contiguous().view(torch.int16).numpy()
    return bits.view(kinds[weight.dtype])
