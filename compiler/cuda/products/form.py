"""Forms of a sparse weight: what each kernel reads of it, on the host and on a GPU."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.device.driver import Device
from sparsec.cuda.products import spmv
from sparsec.cuda.products.bsr_pairs_wgmma import BsrPairsWgmma
from sparsec.cuda.products.bsr_rows_mma import BsrRowsMma
from sparsec.cuda.products.bsr_tall_wgmma import BsrTallWgmma
from sparsec.cuda.products.bsr_wgmma import BsrWgmma
from sparsec.cuda.products.coo_wgmma import CooWgmma
from sparsec.cuda.products.dense import DenseWeight
from sparsec.cuda.products.device_cost import Target
from sparsec.cuda.products.nm24_wgmma import Nm24Wgmma
from sparsec.cuda.products.sparse_weight import SparseWeight, Streams, has_room
from sparsec.cuda.products.spmv import SpmvWeight
from sparsec.cuda.products.ways import WayKernel
from sparsec.cuda.streams.bank_streams import BankStreams
from sparsec.cuda.streams.bsr_pairs import BlockPairs
from sparsec.cuda.streams.bsr_rows import BlockRows
from sparsec.cuda.streams.bsr_steps import BlockSteps
from sparsec.cuda.streams.bsr_tall import TallTiles
from sparsec.cuda.streams.coo_streams import CooStreams
from sparsec.cuda.streams.lane_streams import LaneStreams
from sparsec.cuda.streams.nm24_streams import Nm24Streams
from sparsec.cuda.streams.nm24_tiles import Nm24Tiles
from sparsec.cuda.streams.spmv_streams import SpmvStreams

Encoded: TypeAlias = (
    LaneStreams
    | CooStreams
    | BankStreams
    | SpmvStreams
    | Nm24Streams
    | Nm24Tiles
    | BlockSteps
    | BlockRows
    | TallTiles
    | BlockPairs
)
SparseForm: TypeAlias = (
    SparseWeight | Nm24Wgmma | BsrWgmma | BsrRowsMma | BsrTallWgmma | BsrPairsWgmma | SpmvWeight | CooWgmma
)
Form: TypeAlias = SparseForm | DenseWeight

_WIDE_BYTES = 227 << 10  # of shared memory, from which steps of points are wide


def encoded_as(kernel: WayKernel, bits: NDArray[np.uint16], on: Target) -> Encoded | None:
    """What a kernel reads of a matrix given as its bits; None if the matrix is not for it, or the GPU has too little shared
    memory. Raises `ModelError` where it needs a pattern that the matrix has not."""
    workers, available = on.multiprocessors, on.shared_bytes
    match kernel:
        case "bitmap_mma":
            lanes = LaneStreams.encode(bits, workers, available)
            return lanes if has_room(lanes, available) else None
        case "coo_mma":
            points = CooStreams.encode(bits, workers, 4 if available >= _WIDE_BYTES else 2)
            return points if points.even and has_room(points, available) else None
        case "coo_wgmma":
            banks = BankStreams.encode(bits, workers)
            return banks if banks.even else None
        case "spmv" | "spmv_ordered":
            if not spmv.fits(bits.shape[1], available):
                return None
            return spmv.encoded(bits, on, ordered=kernel == "spmv_ordered")
        case "nm24_mma":
            return Nm24Streams.encode(bits, workers)
        case "nm24_wgmma":
            return Nm24Tiles.encode(bits)
        case "bsr_wgmma":
            return BlockSteps.encode(bits, workers)
        case "bsr_rows_mma":
            return BlockRows.encode(bits)
        case "bsr_tall_wgmma":
            return TallTiles.encode(bits, workers)
        case "bsr_pairs_wgmma":
            return BlockPairs.encode(bits)
        case "dense" | "w4_nm24_mma" | "w4_group_mma":  # which read no form of a matrix of 16 bits but itself
            return None


def on_gpu(encoded: Encoded | Streams, dtype: str, on: Device) -> SparseForm:
    """Copy what was encoded to a GPU, for its kernel; results are float16 or bfloat16 (`dtype`)."""
    match encoded:
        case SpmvStreams():
            return SpmvWeight(encoded, dtype, on)
        case Nm24Tiles():
            return Nm24Wgmma(encoded, dtype, on)
        case BankStreams():
            return CooWgmma(encoded, dtype, on)
        case BlockSteps():
            return BsrWgmma(encoded, dtype, on)
        case BlockRows():
            return BsrRowsMma(encoded, dtype, on)
        case TallTiles():
            return BsrTallWgmma(encoded, dtype, on)
        case BlockPairs():
            return BsrPairsWgmma(encoded, dtype, on)
        case _:
            return SparseWeight(encoded, dtype, on)
